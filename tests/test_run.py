"""``run.py`` and ``train.py`` as a user calls them."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

import train
from media.video import probe
from run import main
from tests.tiny_run import write_clips, write_config
from training.run_checkpoints import STATE_FILE, checkpoints, sole_training


@pytest.fixture(autouse=True)
def fresh_process(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("data")
    return write_config(folder / "tiny.yaml", write_clips(folder / "clips"))


@pytest.fixture(scope="module")
def finished(config_file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    AcceleratorState._reset_state(reset_partial_state=True)
    options = ["--set", "train.max_steps=2", "--output", str(folder)]
    assert main(["--config", config_file, *options]) == 0
    return folder


def test_training_ends_with_an_animation_of_an_unseen_face(finished):
    video = probe(finished / "animation.mp4")
    assert video.num_frames == 5
    assert video.size == (32, 3 * 32)


def test_the_animation_can_be_left_out(config_file, tmp_path, capsys):
    options = ["--set", "train.max_steps=1", "--output", str(tmp_path), "--no-animation"]
    assert train.main(["--config", config_file, *options]) == 0
    assert not list(tmp_path.glob("animation*"))
    said = capsys.readouterr().out
    assert "On unseen clips" in said
    assert "Animation" not in said


@pytest.mark.parametrize(
    "script", ["animate", "export", "reconstruction", "run --mode fly", "train"]
)
def test_every_script_runs_by_itself(script, tmp_path):
    """Scripts start in any folder; here each ends with a complaint of its own."""
    name, *arguments = script.split()
    command = [sys.executable, str(Path(train.__file__).with_name(f"{name}.py")), *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "--" in done.stderr


def test_the_help_has_the_modes_and_the_options_of_the_training(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert "--mode train|reconstruction|animate|export" in said
    assert "--no-animation" in said
    assert main(["--mode", "export", "--help"]) == 0
    said = capsys.readouterr().out
    assert "--precision" in said
    assert "--no-animation" not in said


def test_a_full_disk_is_said_with_what_is_safe(config_file, tmp_path, capsys):
    options = ["--config", config_file, "--output", str(tmp_path), "--no-animation"]
    assert main([*options, "--set", "train.max_steps=2"]) == 0
    (saved,) = checkpoints(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((saved / STATE_FILE).stat().st_size // 2, limits[1]))
    try:
        AcceleratorState._reset_state(reset_partial_state=True)
        more = ["--checkpoint", "last", "--set", "train.max_steps=4", "--set", "train.grid_every=9"]
        assert main([*options, *more]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "step-00000004 cannot be written: File too large. " in message
    assert message.endswith(
        f"{saved} is whole: make room, and go on from it with --checkpoint last."
    )
    assert {path.name for path in saved.parent.iterdir()} == {saved.name, "best"}
    AcceleratorState._reset_state(reset_partial_state=True)
    assert main([*options, "--checkpoint", "last", "--set", "train.max_steps=4"]) == 0


def test_the_run_is_named_by_the_config_or_the_command_line(config_file, capsys):
    one_step = ["--config", config_file, "--set", "train.max_steps=1"]
    assert main(one_step) == 0
    assert main([*one_step, "--name", "other", "--set", "seed=7"]) == 0
    assert "copying the source" in capsys.readouterr().out
    assert [path.name for path in sorted(Path("runs").iterdir())] == ["other", "tiny"]
    assert "seed: 7" in Path("runs/other/config.yaml").read_text()


def test_a_finished_run_is_not_overwritten(config_file, finished, capsys):
    assert main(["--config", config_file, "--output", str(finished)]) == 2
    assert "--checkpoint last" in capsys.readouterr().err


def test_a_finished_run_goes_on_when_it_may_take_more_steps(config_file, finished):
    options = ["--output", str(finished), "--checkpoint", "last", "--set", "train.max_steps=3"]
    assert main(["--config", config_file, *options]) == 0
    assert checkpoints(finished)[-1].name == "step-00000003"
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").open()]
    assert [line["step"] for line in lines if "loss/perceptual" in line] == [1, 2, 3]


def test_a_run_that_is_being_trained_is_not_started_again(config_file, finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*.jsonl")}
    with sole_training(finished):
        for checkpoint in ([], ["--checkpoint", "last"]):
            assert main(["--config", config_file, "--output", str(finished), *checkpoint]) == 2
            assert f"by process {os.getpid()} on" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in finished.rglob("*.jsonl")} == before


def test_a_list_of_pairs_is_animated_and_failures_are_told(finished, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text(
        f"source,driving\n{finished / 'animation_source.png'},{finished / 'animation.mp4'}\n"
        f"missing.png,{finished / 'animation.mp4'}\n"
    )
    command = ["--mode", "animate", "pairs", str(tmp_path / "pairs.csv")]
    command += ["--checkpoint", str(checkpoints(finished)[-1])]
    command += ["--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert "missing.png" in capsys.readouterr().err
    assert [len(list(path.iterdir())) for path in (tmp_path / "out" / "generated").iterdir()] == [5]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing option '--config'"),
        (["--mode", "fly"], "fly"),
        (["--mode", "animate"], "--driving"),
        (["--mode=reconstruction"], "--checkpoint"),
        (["--config", "missing.yaml"], "missing.yaml"),
        (["--config", "CONFIG", "--set", "train.batchsize=3"], "train.batchsize"),
        (["--config", "CONFIG", "--set", "train.batch_size=100"], "batch"),
        (["--config", "CONFIG", "--checkpoint", "last"], "no checkpoint to resume"),
        (["--config", "CONFIG", "--checkpoint", "missing.pth.tar"], "missing.pth.tar"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, config_file, capsys):
    assert main([config_file if word == "CONFIG" else word for word in arguments]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence in message
