"""Commands ``reconstruction.py`` and ``python -m evaluation``, as a user calls them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from animate import Animator
from animate import main as animate
from animation.best_frame import NetworkLandmarks
from evaluation.__main__ import main as evaluate
from evaluation.metrics.clip_metrics import (
    NO_DRIVING_FACE,
    UNMOVED,
    compare_expressions,
    expressions,
)
from evaluation.metrics.openface import OpenFace
from evaluation.metrics.pixels import PICTURE_METRICS, l1, psnr
from faces.detectors import DetectorUnavailable
from media.video import read_frames
from reconstruction import main
from tests.evaluation.faces import faces, talking
from tests.tiny_run import SETTINGS, SIZE, write_checkpoint, write_clips

pytestmark = pytest.mark.usefixtures("equal_pictures_are_searched_once")
PICTURES = ",".join(PICTURE_METRICS)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("data") / "clips", num_frames=7)


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("runs") / "tiny", root)


def command(checkpoint: Path, output: Path, *options: object) -> list[str]:
    fixed = ["--checkpoint", checkpoint, "--metrics", PICTURES, "--output", output]
    return list(map(str, [*fixed, "--device", "cpu", "--batch-size", 3, *options]))


def result_of(output: Path) -> dict[str, Any]:
    result = json.loads((output / "result.json").read_text())
    assert result.pop("duration_seconds") > 0
    return result


def write_pairs(path: Path, rows: str) -> Path:
    path.write_text(f"source,driving,best_frame\n{rows}")
    return path


def test_the_video_protocol_drives_the_first_frame_by_all(checkpoint, root, tmp_path):
    assert main(command(checkpoint, tmp_path / "out")) == 0
    animator = Animator.from_checkpoint(checkpoint, device="cpu", precision="fp32")
    expected = []
    clips = sorted(root.glob("test/*.mp4"))
    for clip in clips:
        frames = [frame.image for frame in read_frames(clip)]
        results = animator.animate(frames[0], frames, motion="absolute")
        expected += [psnr(made, true) for made, true in zip(results, frames, strict=True)]
    result = result_of(tmp_path / "out")
    found = result["metrics"]["psnr"]
    assert found["mean"] == pytest.approx(np.mean(expected), rel=1e-3)  # batches round differently
    moved = np.array(expected).reshape(len(clips), -1)[:, 1:]
    assert found["without_source_frames"]["mean"] == pytest.approx(moved.mean(), rel=1e-3)
    assert found["frames"] == 7 * len(clips)
    assert found["without_source_frames"]["frames"] == 6 * len(clips)
    assert result["protocol"] == "video"
    assert result["coverage"]["clips"] == {"listed": len(clips), "used": len(clips), "dropped": {}}
    conditions = result["conditions"]
    assert len(conditions["checkpoint_sha256"]) == 64
    assert conditions["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert (conditions["precision"], conditions["size"]) == ("fp32", f"{SIZE} x {SIZE}")


def test_a_checkpoint_is_compared_with_copying_the_source(checkpoint, root, tmp_path):
    assert main([*command(checkpoint, tmp_path / "out"), "--metrics", "psnr,l1,sharpness"]) == 0
    result = result_of(tmp_path / "out")
    copies, num_frames = [], 0
    for clip in sorted(root.glob("test/*.mp4")):
        first, *others = [frame.image for frame in read_frames(clip)]
        copies += [(l1(first, frame), psnr(first, frame)) for frame in others]
        num_frames += len(others)
    distances, scores = np.array(copies).T
    everything = result["metrics"]["psnr"]["copy_source"]["without_source_frames"]
    assert everything["copy_source"]["mean"] == pytest.approx(scores.mean())
    assert everything["difference"]["frames"] == num_frames
    moved = distances > np.median(distances)
    assert result["moved"] == {"frames": moved.sum(), "l1": pytest.approx(np.median(distances))}
    far = result["metrics"]["psnr"]["copy_source"]["moved"]
    assert far["copy_source"]["mean"] == pytest.approx(scores[moved].mean())
    parts = [far[name]["mean"] for name in ("result", "copy_source", "difference")]
    assert parts[0] - parts[1] == pytest.approx(parts[2])
    assert result["metrics"]["sharpness"]["copy_source"]["moved"]["copy_source"]["mean"] > 0.5


def test_cross_identity_results_are_asked_whether_their_keypoints_follow(
    checkpoint, root, tmp_path
):
    csv = tmp_path / "pairs.csv"
    made = ["pairs", "--root", root, "--output", csv, "--kind", "clips", "--count", 2]
    assert evaluate(list(map(str, made))) == 0
    out = tmp_path / "out"
    fixed = ["--checkpoint", checkpoint, "--root", root, "--output", out, "--device", "cpu"]
    assert animate(list(map(str, ["pairs", csv, *fixed]))) == 0
    folders = ["--real", out / "driving", "--generated", out / "generated"]
    fixed = ["--cross-identity", *folders, "--source", out / "source", "--metrics", "l1,motion"]
    fixed += ["--checkpoint", checkpoint, "--device", "cpu", "--batch-size", 3]
    assert evaluate(list(map(str, [*fixed, "--output", tmp_path / "result"]))) == 0
    result = result_of(tmp_path / "result")
    detector = Animator.from_checkpoint(checkpoint, device="cpu", precision="fp32")
    assert len(result["by_clip"]) == 2
    for name, clip in result["by_clip"].items():
        moves = []
        for side in ("driving", "generated"):
            pictures = [frame.image for frame in read_frames(out / side / name)]
            points = detector.detect(pictures).positions.numpy().astype(float)
            moves.append((points - points[0]).ravel())
        expected = np.corrcoef(*moves)[0, 1]
        assert clip["metrics"]["motion"] == pytest.approx(expected, rel=1e-3)
    assert result["metrics"]["motion"]["frames"] == 14
    assert "copy_source" not in result["metrics"]["motion"]
    assert "sha256" in result["conditions"]["networks"]["motion"]


class MouthInPixel:
    """Detector of faces whose mouth is as open as the first pixel is bright; black shows none."""

    name = "the first pixel"

    def __init__(self, device: str) -> None:
        pass

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return mouths([frame[0, 0, 0] / 255 for frame in frames])


def mouths(openings: Sequence[float]) -> np.ndarray:
    """Landmarks (N, 68, 2) of faces that move nothing but the mouth."""
    found = faces(np.array([[opening, 0.5, 0.1, 0.3] for opening in openings]))
    found[np.array(openings) == 0] = np.nan
    return found


def write_mouths(folder: Path, openings: Sequence[float]) -> None:
    folder.mkdir(parents=True)
    for number, opening in enumerate(openings):
        picture = np.full((16, 16, 3), 255 * opening).round().astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:07d}.png")


def test_expressions_of_folders_are_measured_and_compared(tmp_path, monkeypatch, capsys):
    """One clip talks, one hardly moves; one result has a frame without a face."""
    monkeypatch.setattr("evaluation.metrics.inputs.FaceAlignmentLandmarks", MouthInPixel)
    steps = np.array([1, 5, 2, 4, 3, 1, 5, 2, 4, 3, 1, 2]) / 17
    still = np.array([100, 101] * 6) / 255
    for side, scale in {"driving": 1, "half": 0.5, "same": 1}.items():
        made = steps * scale + (1 - scale) / 5
        made[3] = made[3] if scale == 1 else 0
        write_mouths(tmp_path / side / "id1#a", made)
        write_mouths(tmp_path / side / "id2#a", still)
    columns = "mouth_gain,mouth_corr,eyes_gain"
    fixed = ["--real", tmp_path / "driving", "--cross-identity", "--metrics", columns]
    for side in ("half", "same"):
        options = [*fixed, "--device", "cpu", "--generated", tmp_path / side]
        assert evaluate(list(map(str, [*options, "--output", tmp_path / f"out-{side}"]))) == 0
    result = result_of(tmp_path / "out-half")
    gain, corr, eyes = (result["metrics"][column] for column in columns.split(","))
    assert gain["mean"] == pytest.approx(0.5, abs=0.02)  # pixels are rounded
    assert corr["mean"] == pytest.approx(1, abs=1e-3)
    assert (gain["clips"], gain["frames"]) == (1, 12)
    assert len(gain["dropped"][UNMOVED]) == 12
    assert (eyes["mean"], eyes["clips"]) == (None, 0)
    assert result["by_clip"]["id2#a"]["metrics"]["mouth_gain"] is None
    assert result["conditions"]["networks"]["mouth_gain"] == "the first pixel"
    for name in ("table.md", "table.tex", "report.html"):
        assert "Mouth opening, gain" in (tmp_path / "out-half" / name).read_text()
    (line,) = [
        line
        for line in (tmp_path / "out-half" / "table.md").read_text().splitlines()
        if line.startswith("| Mouth opening, gain")
    ]
    assert [cell.strip() for cell in line.split("|")[-4:-1]] == ["12", "1", "12"]

    results = [str(tmp_path / f"out-{side}" / "result.json") for side in ("half", "same")]
    compared = tmp_path / "compared.json"
    assert evaluate(["compare", *results, "--output", str(compared)]) == 0
    rows = {row["column"]: row for row in json.loads(compared.read_text())["rows"]}
    assert rows["mouth_gain"]["difference"] == pytest.approx(0.5, abs=0.02)
    assert rows["mouth_gain"]["frames"] == 12
    assert "Mouth opening, correlation" in capsys.readouterr().out


def without_face_alignment(device: str) -> None:
    raise DetectorUnavailable("face-alignment has no weights.")


def test_expressions_are_relative_to_landmarks_from_files_and_found_by_the_network_in_results(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("evaluation.metrics.inputs.FaceAlignmentLandmarks", without_face_alignment)
    root = write_clips(tmp_path / "clips", num_frames=12)
    settings = {"height": 32, "width": 4, "depth": 2, "max_width": 8}
    monkeypatch.setitem(SETTINGS["model"], "landmark_detector", settings)
    checkpoint = write_checkpoint(tmp_path / "run", root)
    folder = tmp_path / "landmarks" / "test"
    folder.mkdir(parents=True)
    clip, other = sorted(root.glob("test/*.mp4"))
    driving = faces(talking(12))
    np.save(folder / f"{clip.name}.npy", driving.astype(np.float32))
    options = ["--metrics", "l1,mouth_gain,eyes_corr", "--landmarks", folder.parent]
    assert main([*command(checkpoint, tmp_path / "out"), *map(str, options)]) == 0
    result = result_of(tmp_path / "out")

    animator = Animator.from_checkpoint(checkpoint, device="cpu", precision="fp32")
    frames = [frame.image for frame in read_frames(clip)]
    made = list(animator.animate(frames[0], frames, motion="absolute"))
    found = NetworkLandmarks(animator)(made)
    expected = compare_expressions(expressions(driving), expressions(found))
    metrics = result["by_clip"][clip.stem]["metrics"]
    for column in ("mouth_gain", "eyes_corr"):
        assert metrics[column] == pytest.approx(expected[column][0], rel=1e-3)
    dropped = result["metrics"]["mouth_gain"]["dropped"]
    assert dropped == {NO_DRIVING_FACE: [f"{other.stem}/{number:07d}" for number in range(12)]}
    by = result["conditions"]["networks"]["mouth_gain"]
    assert by.startswith("the network's own landmark detector")
    assert by.endswith(f"files in {folder.parent}")
    assert result["conditions"]["landmarks"] == str(folder.parent)

    np.save(folder / f"{clip.name}.npy", driving)
    assert main([*command(checkpoint, tmp_path / "out"), *map(str, options)]) == 2  # other files


def test_the_pairs_protocol_measures_the_pairs_of_a_published_list(
    checkpoint, tmp_path, root, capsys
):
    rows = [
        "/data/x/vox/test/id3#a#0#5/0000000.png,/data/x/vox/test/id3#a#0#5/0000004.png",
        "/data/x/vox/test/id3#a#0#5/0000000.png,/data/x/vox/test/id3#a#0#5/0000004.png",
        "/data/x/vox/test/id4#a#0#5/0000002.png,/data/x/vox/test/id4#a#0#5/0000001.png",
        "/data/x/vox/test/id4#a#0#5/0000002.png,/data/x/vox/test/id4#a#0#5/0000099.png",
        "/data/x/vox/test/id3#a#0#5/0000002.png,/data/x/vox/test/id4#a#0#5/0000001.png",
    ]
    pairs = write_pairs(tmp_path / "pairs.csv", "\n".join(rows))
    options = ["--protocol", "pairs", "--pairs", pairs, "--root", root]
    assert main(command(checkpoint, tmp_path / "out", *options)) == 0
    result = result_of(tmp_path / "out")
    coverage = result["coverage"]["pairs"]
    assert (coverage["rows"], coverage["duplicates"], coverage["used"]) == (5, 1, 2)
    reasons = " ".join(coverage["missing"].values())
    assert len(coverage["missing"]) == 2
    assert "0000099" in " ".join(coverage["missing"]) + reasons
    assert "two people" in reasons
    animator = Animator.from_checkpoint(checkpoint, device="cpu", precision="fp32")
    clip = [frame.image for frame in read_frames(root / "test" / "id3#a#0#5.mp4")]
    (made,) = animator.animate(clip[0], clip[4:5], motion="absolute")
    assert result["by_clip"]["id3#a#0#5"]["metrics"]["psnr"] == pytest.approx(
        psnr(made, clip[4]), rel=1e-3
    )
    assert main(command(checkpoint, tmp_path / "strict", *options, "--strict")) == 2
    assert "0000099" in capsys.readouterr().err
    assert not (tmp_path / "strict").exists()


def run_script(*arguments: object, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def test_two_processes_and_a_killed_one_come_to_the_same_result(checkpoint, tmp_path):
    script = "reconstruction.py"
    port = str(29600 + os.getpid() % 300)
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port]
    several = run_script(*launcher, script, *command(checkpoint, tmp_path / "several"))
    killed = run_script(script, *command(checkpoint, tmp_path / "killed"))
    first = tmp_path / "killed" / "parts" / "000000"
    while not first.exists() and killed.poll() is None:
        time.sleep(0.001)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for name in ("alone", "killed"):
        assert main(command(checkpoint, tmp_path / name)) == 0
    _, errors = several.communicate()
    assert several.returncode == 0, errors

    expected = result_of(tmp_path / "alone")
    assert result_of(tmp_path / "several") == expected
    assert result_of(tmp_path / "killed") == expected
    frames = [tmp_path / name / "frames.csv" for name in ("alone", "several", "killed")]
    assert len({path.read_bytes() for path in frames}) == 1


def test_what_is_not_available_is_said_and_strict_makes_it_an_error(checkpoint, tmp_path, capsys):
    options = ["--metrics", "l1,aed", "--limit", "1"]
    assert main(command(checkpoint, tmp_path / "out", *options)) == 0
    result = result_of(tmp_path / "out")
    assert "--openface" in result["metrics"]["aed"]["unavailable"]
    assert result["metrics"]["l1"]["frames"] == 7
    assert "unavailable" in capsys.readouterr().out
    assert main(command(checkpoint, tmp_path / "out", *options, "--strict")) == 1


@pytest.mark.parametrize(("limit", "precision"), [(255, "bf16"), (-1, "fp32")])
def test_the_precision_that_auto_came_to_is_recorded(
    checkpoint, tmp_path, monkeypatch, *, limit, precision
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("inference.precision.MAX_DIFFERENCE", limit)
    options = ["--metrics", "l1", "--limit", "1"]
    results = []
    for asked in ("auto", precision):
        assert main(command(checkpoint, tmp_path / asked, *options, "--precision", asked)) == 0
        results.append(result_of(tmp_path / asked))
    assert results[0]["conditions"]["precision"] == precision
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--metrics", "l1,beauty"], "No metric is called 'beauty'"),
        (["--protocol", "pairs"], "needs --pairs"),
        (["--pairs", "pairs.csv"], "belongs to --protocol pairs"),
        (["--protocol", "pairs", "--pairs", "nothing.csv"], "nothing.csv"),
        (["--root", "nowhere"], "nowhere does not exist"),
        (["--landmarks", "nowhere"], "The folder of landmarks nowhere does not exist"),
        (["--openface", "nothing.pth", "--metrics", "aed"], "nothing.pth"),
        (["--checkpoint", "nothing"], "no checkpoint nothing"),
        (["--set", "data.size=64"], "name one"),
        (["--config", "vox.yaml"], "has 4 keypoints and the config 15"),
        (["--device", "gpu"], "No device is called 'gpu'"),
    ],
)
def test_a_mistake_is_one_sentence(options, sentence, checkpoint, tmp_path, capsys):
    assert main([*command(checkpoint, tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err.strip().splitlines()[-1]


def test_clips_of_one_name_are_not_taken_for_one(checkpoint, root, tmp_path, capsys):
    (tmp_path / "data" / "test").mkdir(parents=True)
    for name in ("id3#a.mp4", "id3#a.mov"):
        shutil.copy(root / "test" / "id3#a#0#5.mp4", tmp_path / "data" / "test" / name)
    assert main([*command(checkpoint, tmp_path / "out"), "--root", str(tmp_path / "data")]) == 2
    assert "2 clips are called id3#a" in capsys.readouterr().err


class BrightestPoints:
    """Landmarks that follow the picture: where its brightest pixels are."""

    name = "the brightest pixels"

    def __init__(self, device: str) -> None:
        pass

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        brightest = frames.sum(axis=-1).reshape(len(frames), -1).argsort(axis=1)[:, -68:]
        return np.stack([brightest % frames.shape[2], brightest // frames.shape[2]], axis=-1) * 1.0


def test_a_folder_against_itself_is_without_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("evaluation.metrics.inputs.FaceAlignmentLandmarks", BrightestPoints)
    generator = np.random.default_rng(0)
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b", "c"):
            picture = generator.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(tmp_path / folder / f"{name}.png")
    torch.manual_seed(0)
    torch.save(OpenFace().state_dict(), tmp_path / "openface.pth")
    fixed = ["--metrics", f"{PICTURES},akd,akd_published,mkr,aed,aed_published"]
    fixed += ["--openface", str(tmp_path / "openface.pth"), "--device", "cpu"]
    for generated in ("one", "other"):
        folders = ["--real", str(tmp_path / "one"), "--generated", str(tmp_path / generated)]
        assert evaluate([*folders, *fixed, "--output", str(tmp_path / f"out-{generated}")]) == 0
    means = {
        generated: {name: metric["mean"] for name, metric in result_of(path)["metrics"].items()}
        for generated in ("one", "other")
        for path in [tmp_path / f"out-{generated}"]
    }
    perfect = {"psnr": None, "psnr_published": None, "ssim": 1, "ssim_published": 1}
    assert means["one"] == {name: perfect.get(name, 0) for name in means["one"]}
    assert "0 + 3 identical" in capsys.readouterr().out
    assert all(means["other"][name] != mean for name, mean in means["one"].items() if name != "mkr")


def test_results_are_compared_and_lists_are_made(checkpoint, root, tmp_path, capsys):
    csv = tmp_path / "pairs.csv"
    made = ["pairs", "--root", root, "--output", csv, "--count", 4, "--seed", 3]
    assert evaluate(list(map(str, made))) == 0
    for name, precision in (("a", "fp32"), ("b", "bf16")):
        options = ["--protocol", "pairs", "--pairs", csv, "--precision", precision]
        assert main(command(checkpoint, tmp_path / name, *options)) == 0
    results = [str(tmp_path / name / "result.json") for name in ("a", "b")]
    assert evaluate(["compare", *results, "--output", str(tmp_path / "compared.json")]) == 0
    assert "precision" in capsys.readouterr().out
    rows = json.loads((tmp_path / "compared.json").read_text())["rows"]
    assert [row["column"] for row in rows] == list(PICTURE_METRICS)
    assert all(row["frames"] == 4 for row in rows)
    assert evaluate(["compare", results[0], str(tmp_path / "nothing.json")]) == 2


def test_entries_of_folders_that_do_not_fit_are_told_with_the_reasons(tmp_path, capsys):
    for number in range(11):
        for side in ("real", "generated"):
            path = tmp_path / side / f"p{number}#a.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (16, 16), (9 * number, 0, 0)).save(path)
    for number in range(3):
        (tmp_path / "generated" / f"p{number}#a.png").unlink()
    for number in (3, 4):
        Image.new("RGB", (16, 24)).save(tmp_path / "generated" / f"p{number}#a.png")
    (tmp_path / "real" / "p5#a.png").write_text("no picture")
    folders = ["--real", str(tmp_path / "real"), "--generated", str(tmp_path / "generated")]
    options = [*folders, "--metrics", "l1", "--output", str(tmp_path / "out")]
    assert evaluate(options) == 0
    told = capsys.readouterr().err
    table = (tmp_path / "out" / "table.md").read_text()
    for said in (told, table[: table.index("|")].replace("\\", "")):
        assert "Dropped, and in no number below: 6 of 11 clips." in said
        assert f"p0#a, p1#a, p2#a: It is not in {tmp_path / 'generated'}." in said
        assert "Frame 0000000 of p3#a is 16 x 16 pixels, the generated one 16 x 24." in said
        assert f"p5#a: {tmp_path / 'real' / 'p5#a.png'} is " in said
    assert "6 of 11 clips" in (tmp_path / "out" / "table.tex").read_text()
    assert "| 0 + 6 clips |" in table
    assert evaluate([*options, "--strict"]) == 2


def test_folders_that_do_not_pair_are_a_sentence(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert evaluate(["--real", str(tmp_path / "empty")]) == 2
    assert "--real and --generated" in capsys.readouterr().err
    both = ["--real", str(tmp_path / "empty"), "--generated", str(tmp_path / "empty")]
    assert evaluate(both) == 2
    assert "holds no pictures" in capsys.readouterr().err
    for folder, name in (("one", "a"), ("one", "b"), ("other", "b"), ("other", "c")):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("RGB", (16, 16)).save(tmp_path / folder / f"{name}.png")
    both = ["--real", str(tmp_path / "one"), "--generated", str(tmp_path / "other"), "--strict"]
    assert evaluate(both) == 2
    error = capsys.readouterr().err
    assert "a: It is not in" in error
    assert "c: It is not in" in error
