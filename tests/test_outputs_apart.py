"""No command writes over what it reads: such an output is refused before any work."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import animate
import reconstruction
import run
from animation.animator import Animator
from datasets.__main__ import main as prepare
from datasets.pair_list import read_pair_list
from evaluation.__main__ import main as evaluate
from media.video import VideoWriter
from tests.tiny import tiny_model
from tests.tiny_run import write_checkpoint
from utils.errors import InputError

Main = Callable[[list[str]], int]

PAIRS = ["pairs", "pairs.csv"]
FOLDERS = ["--real", "real", "--generated", "generated"]


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """One of everything that commands read."""
    monkeypatch.chdir(tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    for name in ("face.gif", "face.png"):
        picture.save(name)
    for folder in ("frames", "out", "real", "generated", "clips/id1", "clips/id2", "other"):
        Path(folder).mkdir(parents=True)
        for number in range(3):
            picture.save(f"{folder}/{number:07d}.png")
    with VideoWriter("own.mp4", Fraction(25)) as writer:
        for _ in range(3):
            writer.write(np.asarray(picture))
    Path("link.mp4").symlink_to("own.mp4")
    Path("m.npz").write_bytes(b"a motion")
    Path("pairs.csv").write_text("source,driving\nface.png,own.mp4\n")
    Path("rooted.csv").write_text("source,driving\nid1/0.png,id2/1.png\n")
    for name in ("a.json", "frames.csv", "vox.csv", "other/who.csv", "other/arcface.onnx"):
        Path(name).write_text(name)
    write_checkpoint(tmp_path / "tiny", tmp_path / "clips")
    Path("exported.safetensors").symlink_to("tiny/weights.safetensors")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    files = {str(path): path for path in sorted(folder.rglob("*"))}
    return {name: path.read_bytes() if path.is_file() else None for name, path in files.items()}


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (animate.main, ["--driving", "own.mp4", "--output", "own.mp4"]),
        (animate.main, ["--driving", "own.mp4", "--output", "link.mp4"]),
        (animate.main, ["--driving", "frames", "--output", "frames/"]),
        (animate.main, ["--driving", "frames", "--output", "frames/out.mp4"]),
        (animate.main, ["--driving", "own.mp4", "--source", "out/0000001.png", "--output", "out/"]),
        (animate.main, ["--driving", "own.mp4", "--source", "face.gif", "--output", "face.gif"]),
        (animate.main, ["--driving", "m.npz", "--save-motion", "m.npz"]),
        (animate.main, ["--driving", "frames", "--save-motion", "frames/m.npz"]),
        (animate.main, ["--driving", "own.mp4", "--save-motion", "out/m.npz", "--output", "out/"]),
        (animate.main, [*PAIRS, "--output", "."]),
        (animate.main, ["pairs", "rooted.csv", "--root", "clips", "--output", "clips"]),
        (animate.main, ["pairs", "rooted.csv", "--root", "clips", "--output", "clips/out"]),
        (run.main, ["--mode", "animate", "--driving", "own.mp4", "--output", "own.mp4"]),
        (evaluate, [*FOLDERS, "--output", "real"]),
        (evaluate, [*FOLDERS, "--output", "generated/result"]),
        (evaluate, [*FOLDERS, "--output", "."]),
        (evaluate, [*FOLDERS, "--source", "out", "--output", "out"]),
        (evaluate, [*FOLDERS, "--checkpoint", "tiny", "--output", "tiny"]),
        (evaluate, [*FOLDERS, "--arcface", "other/arcface.onnx", "--output", "other"]),
        (evaluate, ["compare", "a.json", "a.json", "--output", "a.json"]),
        (evaluate, ["compare", "a.json", "a.json", "--output", "frames.csv"]),
        (evaluate, ["pairs", "--root", "clips", "--output", "clips/pairs.csv"]),
        (reconstruction.main, ["--checkpoint", "tiny", "--output", "clips"]),
        (reconstruction.main, ["--checkpoint", "tiny", "--root", "real", "--output", "real/out"]),
        (
            run.main,
            ["--mode", "export", "--checkpoint", "tiny", "--output", "exported.safetensors"],
        ),
        (prepare, ["videos", "--input", "clips", "--output", "clips"]),
        (prepare, ["videos", "--input", "clips", "--output", "clips/root"]),
        (prepare, ["videos", "--input", "clips/id1", "--output", "clips"]),
        (
            prepare,
            ["videos", "--input", "clips", "--identity", "other/who.csv", "--output", "other"],
        ),
        (prepare, ["celebv", "--input", "clips", "--output", "clips/root"]),
        (prepare, ["voxceleb", "--metadata", "vox.csv", "--videos", "real", "--output", "real"]),
        (prepare, ["voxceleb", "--metadata", "vox.csv", "--videos", "real", "--output", "."]),
        (prepare, ["stats", "clips", "--output", "clips/stats"]),
        (prepare, ["stats", "clips", "--pairs", "other/who.csv", "--output", "other"]),
        (prepare, ["check", "clips", "--output", "clips/report.json"]),
        (prepare, ["stream", "clips", "--output", "clips/id1/stream"]),
    ],
)
def test_an_output_that_meets_an_input_is_refused(
    workplace, capsys, monkeypatch, main: Main, arguments
):
    monkeypatch.setattr(Animator, "from_checkpoint", None)  # no network is loaded before
    before = contents(workplace)
    assert main(arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "name an output apart from it." in lines[-1]
    assert "Traceback" not in lines[-1]
    assert contents(workplace) == before


@pytest.mark.usefixtures("workplace")
def test_functions_refuse_what_their_commands_do():
    animator = Animator(tiny_model(), (32, 32), device="cpu", precision="fp32")
    own, options = Path("own.mp4"), animate.AnimationOptions()
    with pytest.raises(InputError, match=r"own\.mp4 is the same as own\.mp4"):
        animate.animate_file(animator, Path("face.png"), own, "own.mp4", options)
    with pytest.raises(InputError, match=r"m\.npz is the same as m\.npz"):
        animate.save_motion(animator, Path("m.npz"), Path("m.npz"))
    with pytest.raises(InputError, match=r"holds pairs\.csv"):
        animate.animate_pairs(animator, read_pair_list(Path("pairs.csv")), Path(), options)
