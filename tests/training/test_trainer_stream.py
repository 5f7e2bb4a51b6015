"""Training from a stream equals training from the files that it was written from."""

import shutil
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from config import Config, load_config
from datasets.records import FACE_CROP
from datasets.streaming.writer import write_stream
from faces.crop import FaceCropConfig
from media.video import probe
from reconstruction import main as reconstruct
from run import main
from tests.tiny_run import begin, write_clips, write_config
from tests.training.test_trainer import assert_same_end
from training.run_checkpoints import checkpoints

MADE = FaceCropConfig(aspect=1.2, face_x=0.5, face_y=0.5, face_width=0.6)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    root = write_clips(tmp_path_factory.mktemp("data") / "clips")
    (root / FACE_CROP).write_text(MADE.model_dump_json())
    return root


@pytest.fixture(scope="module")
def stream(files) -> Path:
    output = files.with_name("stream")
    write_stream(files, str(output), workers=1)
    return output


@pytest.fixture(scope="module")
def config_file(files) -> str:
    return write_config(files.with_name("tiny.yaml"), files)


def from_stream(config_file: str, stream: Path, *overrides: str) -> Config:
    return load_config(config_file, ["data.source=stream", f"data.root={stream}", *overrides])


def test_weights_are_equal_also_when_resumed_in_an_epoch(config_file, stream, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    begin(load_config(config_file), whole).run()
    first = from_stream(config_file, stream, "train.max_steps=2", "data.synthetic.frames=5")
    trainer = begin(first, parts)  # which are generated for files alone
    assert trainer.config.data.face_crop == MADE
    trainer.run()
    assert trainer.batches_per_epoch == 6  # steps 3 to 6 end the epoch
    begin(from_stream(config_file, stream, "train.workers=2"), parts, "last").run()
    assert_same_end(whole, parts)


def test_a_run_ends_with_an_animation_and_evaluation_asks_for_files(
    config_file, files, stream, tmp_path, capsys
):
    AcceleratorState._reset_state(reset_partial_state=True)
    shutil.copytree(stream, tmp_path / "stream")
    options = ["data.source=stream", f"data.root={tmp_path / 'stream'}", "train.max_steps=1"]
    overrides = [word for option in options for word in ("--set", option)]
    run = tmp_path / "run"
    assert main(["--config", config_file, *overrides, "--output", str(run)]) == 0
    assert probe(run / "animation.mp4").num_frames == 5
    (checkpoint,) = checkpoints(run)
    command = ["--checkpoint", str(checkpoint), "--metrics", "l1,psnr", "--device", "cpu"]
    capsys.readouterr()
    assert reconstruct([*command, "--output", str(tmp_path / "none")]) == 2
    assert "is a stream" in capsys.readouterr().err
    command += ["--root", str(files), "--output", str(tmp_path / "results")]
    assert reconstruct(command) == 0
