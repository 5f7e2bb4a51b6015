"""``run.py`` as a user calls it."""

import json
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from datasets.video import probe
from modules.training_state import checkpoints
from run import main
from tests.tiny_run import write_clips, write_config


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


def test_the_run_is_named_by_the_config_or_the_command_line(config_file, capsys):
    one_step = ["--config", config_file, "--set", "train.max_steps=1"]
    assert main(one_step) == 0
    assert main([*one_step, "--name", "other", "--set", "seed=7"]) == 0
    assert "copied" in capsys.readouterr().out
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


def test_a_list_of_pairs_is_animated_and_failures_are_told(finished, tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text(
        f"source,driving\n{finished / 'animation_source.png'},{finished / 'animation.mp4'}\n"
        f"missing.png,{finished / 'animation.mp4'}\n"
    )
    command = ["--mode", "animate", "--checkpoint", str(checkpoints(finished)[-1])]
    command += ["--pairs", str(tmp_path / "pairs.csv"), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert "missing.png" in capsys.readouterr().err
    assert [len(list(path.iterdir())) for path in (tmp_path / "out" / "generated").iterdir()] == [5]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "needs --config"),
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
