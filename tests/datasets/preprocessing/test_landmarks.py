import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from datasets.__main__ import main
from datasets.landmark_files import landmark_file, read_landmarks
from datasets.preprocessing import landmarks
from datasets.preprocessing.landmarks import FACELESS, UNREADABLE, prepare
from datasets.preprocessing.run import Report, Shard, finish, merge, read_report
from tests.datasets.conftest import contents, here, save, solid, write_frames, write_video
from utils.errors import InputError
from utils.worker_pool import map_in_processes

SIZE = 32
NUM_FRAMES = landmarks.BATCH + 3


class BrightFaces:
    """Puts all landmarks at the brightness of a frame; there is no face in black ones."""

    name = "bright faces 1"

    def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
        assert 0 < len(frames) <= landmarks.BATCH
        levels = np.stack(frames).mean(axis=(1, 2, 3))
        levels[levels < 3] = np.nan
        return np.broadcast_to(levels[:, None, None], (len(frames), 68, 2)).copy()


class Untouched(BrightFaces):
    """Detector that must not be called, since all landmarks exist."""

    def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
        raise AssertionError("this was found before")


@pytest.fixture
def root(tmp_path) -> Path:
    """A video, a folder of frames, of which one is black, and a strip."""
    folder = tmp_path / "root"
    write_video(folder / "train" / "p1#a.mp4", (solid(10 + 10 * i) for i in range(NUM_FRAMES)))
    write_frames(folder / "train" / "p2#a", map(solid, (50, 0, 90)))
    save(folder / "test" / "p3#a.png", np.hstack([solid(20), solid(40)]))
    return folder


@pytest.fixture(autouse=True)
def without_processes(monkeypatch) -> None:
    """Most tests spare the seconds in which a process begins."""
    monkeypatch.setattr(landmarks, "map_in_processes", here)
    landmarks._detector.cache_clear()


def run(root: Path, folder: Path, detector: Callable[[], BrightFaces] = BrightFaces) -> Report:
    return prepare(root, folder, workers=1, shard=Shard(), make_detector=detector)


def test_every_clip_has_a_file_that_is_found_by_its_path(root, tmp_path):
    report = run(root, tmp_path / "found")
    assert report.done == {"test": 1, "train": 2}
    assert report.skipped == {}
    levels = {
        "train/p1#a.mp4": [10 + 10 * i for i in range(NUM_FRAMES)],
        "train/p2#a": [50, np.nan, 90],
        "test/p3#a.png": [20, 40],
    }
    for name, expected in levels.items():
        stored = np.load(tmp_path / "found" / f"{name}.npy")
        assert (stored.shape, stored.dtype) == ((len(expected), 68, 2), np.float16)
        np.testing.assert_allclose(stored[:, 5, 1], expected, atol=2)  # video loses some
        file = landmark_file(tmp_path / "found", root / name)
        assert file.size == (SIZE, SIZE)
        np.testing.assert_array_equal(read_landmarks(file.path), stored)


def test_single_pictures_have_one_frame_of_any_shape(tmp_path):
    sizes = {"p1#a.jpg": (24, 20), "p2#a.bmp": (20, 30), "p3#a.jpg": (20, 30), "p4#a.png": (20, 20)}
    for name, size in sizes.items():
        save(tmp_path / "portraits" / name, solid(100, *size))
    found = tmp_path / "found" / "portraits"
    assert run(tmp_path / "portraits", found).done == {"": 4}
    for name, size in sizes.items():
        file = landmark_file(tmp_path / "found", tmp_path / "portraits" / name)
        assert file.size == size
        assert read_landmarks(file.path).shape == (1, 68, 2)


def test_clips_in_folders_of_people_have_files_in_such_folders(tmp_path):
    root, levels = tmp_path / "root", {"anna/talk/1.mp4": 40, "bob/talk/1.mp4": 80, "bob/2.bmp": 90}
    for name, level in levels.items():
        path = root / "train" / name
        if path.suffix == ".mp4":
            write_video(path, [solid(level)] * 2)
        else:
            save(path, solid(level))
    save(root / "train" / "__MACOSX" / "anna" / "._1.png", solid(9))
    report = run(root, tmp_path / "found")
    assert (report.done, report.skipped) == ({"train": 3}, {})
    for name, level in levels.items():
        assert (tmp_path / "found" / "train" / f"{name}.npy").is_file()
        file = landmark_file(tmp_path / "found", root / "train" / name)
        np.testing.assert_allclose(read_landmarks(file.path)[0, 0], level, atol=2)
    (root / "train" / "bob" / "2.bmp").write_text("no picture")
    (tmp_path / "found" / "train" / "bob" / "2.bmp.npy").unlink()
    assert list(run(root, tmp_path / "found").skipped[UNREADABLE]) == ["bob/2.bmp"]


def test_frames_of_a_folder_and_of_an_animated_picture_have_the_size_that_readers_give_them(
    tmp_path,
):
    """That of the first one; pictures of a folder may differ."""
    root = tmp_path / "root"
    save(root / "p1#a" / "0.png", solid(50))
    save(root / "p1#a" / "1.png", solid(90, 8, 8))
    first, *others = [Image.fromarray(solid(level, 20, 30)) for level in (30, 60, 90)]
    first.save(root / "p2#a.webp", save_all=True, append_images=others, lossless=True)
    assert run(root, tmp_path / "found").skipped == {}
    for name, size, levels in (("p1#a", (32, 32), [50, 90]), ("p2#a.webp", (20, 30), [30, 60, 90])):
        file = landmark_file(tmp_path / "found", root / name)
        assert file.size == size
        np.testing.assert_allclose(read_landmarks(file.path)[:, 0, 0], levels, atol=1)


def test_what_was_found_before_a_kill_is_kept_and_the_rest_is_found(root, tmp_path):
    whole = run(root, tmp_path / "whole")
    calls = []

    class Interrupted(BrightFaces):
        def __call__(self, frames: list[np.ndarray]) -> np.ndarray:
            calls.append(len(frames))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return super().__call__(frames)

    with pytest.raises(KeyboardInterrupt):
        run(root, tmp_path / "found", Interrupted)
    kept = list((tmp_path / "found").rglob("*.npy"))
    assert len(kept) == 1
    time = kept[0].stat().st_mtime_ns
    assert run(root, tmp_path / "found") == whole
    assert kept[0].stat().st_mtime_ns == time
    assert contents(tmp_path / "found") == contents(tmp_path / "whole")
    landmarks._detector.cache_clear()
    assert run(root, tmp_path / "found", Untouched) == whole


def test_clips_without_a_face_and_unreadable_ones_are_named(root, tmp_path):
    save(root / "test" / "p4#a" / "0.png", solid(0))
    (root / "test" / "p5#a.mp4").write_bytes(b"no video")
    (root / "test" / "notes.txt").write_text("no clip")
    report = run(root, tmp_path / "found")
    assert set(report.skipped) == {FACELESS, UNREADABLE}
    assert list(report.skipped[FACELESS]) == ["p4#a"]
    assert np.isnan(np.load(tmp_path / "found" / "test" / "p4#a.npy")).all()
    unreadable = report.skipped[UNREADABLE]
    assert list(unreadable) == ["p5#a.mp4"]
    assert not (tmp_path / "found" / "test" / "p5#a.mp4.npy").exists()
    assert finish(report, tmp_path / "found") == 1
    assert read_report(tmp_path / "found" / "report.json") == report
    assert run(root, tmp_path / "found").skipped == report.skipped


def test_landmarks_do_not_become_clips_and_are_of_one_root(root, tmp_path):
    with pytest.raises(InputError, match="is among the clips"):
        run(root, root / "test" / "found")
    run(root, tmp_path / "found")
    other = tmp_path / "other"
    save(other / "p1#a.jpg", solid(9))
    with pytest.raises(InputError, match="begun with other settings of root"):
        run(other, tmp_path / "found")
    with pytest.raises(InputError, match="holds no clips or pictures"):
        run(tmp_path / "found" / "train", tmp_path / "empty")
    with pytest.raises(InputError, match="nowhere does not exist"):
        run(tmp_path / "nowhere", tmp_path / "empty")


def test_shards_come_to_the_same_files_as_one_run_in_processes(root, tmp_path, monkeypatch):
    for number in (1, 2):
        report = prepare(
            root, tmp_path / "found", workers=1, shard=Shard(number, 2), make_detector=BrightFaces
        )
        finish(report, tmp_path / "found")
    assert finish(merge(tmp_path / "found"), tmp_path / "found") == 0
    monkeypatch.setattr(landmarks, "map_in_processes", map_in_processes)
    finish(run(root, tmp_path / "whole"), tmp_path / "whole")
    shards = ("report-1-of-2.json", "report-2-of-2.json")
    found = {k: v for k, v in contents(tmp_path / "found").items() if k not in shards}
    assert found == contents(tmp_path / "whole")


def test_the_command_finds_with_face_alignment(root, tmp_path, monkeypatch):
    monkeypatch.setattr(landmarks, "FaceAlignmentLandmarks", lambda device: BrightFaces())
    options = ["landmarks", str(root), "--output", str(tmp_path / "found"), "--workers", "1"]
    assert main(options) == 0
    assert len(list((tmp_path / "found").rglob("*.npy"))) == 3
    assert read_report(tmp_path / "found" / "report.json").settings["detector"] == "bright faces 1"


def test_without_weights_the_command_ends_in_a_sentence(root, tmp_path, monkeypatch, capsys):
    def network(*args: object, **options: object) -> None:
        raise OSError("name resolution fails")

    package = SimpleNamespace(
        FaceAlignment=network, LandmarksType=SimpleNamespace(TWO_D=1), __version__="1.5.0"
    )
    monkeypatch.setitem(sys.modules, "face_alignment", package)
    assert main(["landmarks", str(root), "--output", str(tmp_path / "found")]) == 2
    assert "has no weights" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()
