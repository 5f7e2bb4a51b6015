import os
import shutil
from collections import namedtuple
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from filelock import FileLock

from datasets import frame_cache
from datasets.clips import open_clip
from datasets.config import DataConfig
from datasets.frame_cache import CachedClip, _decode, cached_clips
from datasets.frame_pairs import PairDataset, load_frames
from datasets.training_clips import training_clips
from tests.datasets.conftest import assert_equal, here, save, write_clip, write_frames
from utils.errors import OutputError
from utils.files import fingerprint
from utils.worker_pool import map_in_processes


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch):
    """Most tests spare the seconds in which a process begins."""
    monkeypatch.setattr(frame_cache, "map_in_processes", here)


@pytest.fixture
def root(tmp_path):
    for person in "abc":
        write_clip(tmp_path / "root" / "train" / f"{person}#0.mp4", num_frames=6)
    write_clip(tmp_path / "root" / "test" / "d#0.mp4", num_frames=4)
    return tmp_path / "root"


@pytest.mark.parametrize(("size", "mapping"), [((24, 32), here), ((16, 16), map_in_processes)])
def test_pairs_are_those_of_the_files(root, tmp_path, monkeypatch, size, mapping):
    monkeypatch.setattr(frame_cache, "map_in_processes", mapping)
    files = DataConfig(root=root, size=size, repeats=2)
    decoded = files.model_copy(update={"frame_cache": tmp_path / "decoded"})
    one, other = (
        PairDataset(training_clips(data, "train"), data, seed=0) for data in (files, decoded)
    )
    assert all(isinstance(clip, CachedClip) for clip in other.clips)
    for index in range(len(one)):
        assert_equal(one[1, index], other[1, index])


def test_frames_are_decoded_once_and_again_for_another_size_or_a_changed_clip(root, tmp_path):
    folder = tmp_path / "decoded"
    clip = open_clip(root / "train" / "a#0.mp4")

    def files(size=(24, 32)):
        cached_clips([clip], folder, size)
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}

    first = files()
    assert len(first) == 1
    assert files() == first
    assert len(files((16, 16))) == 2
    os.utime(clip.path, (1, 1))
    assert len(files()) == 3
    assert not list(folder.glob(".*.npy*"))


def test_a_clip_that_is_damaged_stays_as_it_is(root, tmp_path, caplog):
    paths = sorted((root / "train").iterdir())
    clips = [open_clip(path) for path in paths]
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 3])
    decoded = cached_clips(clips, tmp_path / "decoded", (24, 32))
    assert [isinstance(clip, CachedClip) for clip in decoded] == [True, False, True]
    assert decoded[1] is clips[1]
    assert str(paths[1]) in caplog.text


def test_a_file_that_is_gone_or_damaged_changes_no_pair_and_is_written_anew(root, tmp_path):
    clip = open_clip(root / "train" / "a#0.mp4")
    (decoded,) = cached_clips([clip], tmp_path / "decoded", (24, 32))
    expected = load_frames(decoded, [2, 0], (24, 32))
    (file,) = (tmp_path / "decoded").glob("*.npy")
    whole = file.read_bytes()
    np.save(tmp_path / "other.npy", np.zeros((5, 24, 32, 3), np.uint8))
    for damaged in (None, b"", whole[:-1], b"x" * 200, (tmp_path / "other.npy").read_bytes()):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        assert decoded.read() is None
        assert torch.equal(load_frames(decoded, [2, 0], (24, 32)), expected)
        cached_clips([clip], tmp_path / "decoded", (24, 32))
        assert file.read_bytes() == whole


@pytest.mark.parametrize("counted", [4, 8])
def test_a_clip_with_other_frames_than_were_counted_stays_as_it_is(root, tmp_path, counted, caplog):
    clip = open_clip(root / "train" / "a#0.mp4")._replace(num_frames=counted)
    assert cached_clips([clip], tmp_path / "decoded", (24, 32)) == [clip]
    assert f"it shows 6 frames where {counted} were counted" in caplog.text
    assert not list((tmp_path / "decoded").glob("*.npy*"))


def test_strips_and_folders_of_frames_are_decoded(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3), np.uint8)
    folder = write_frames(tmp_path / "folder", frames)
    strip = save(tmp_path / "strip.png", np.concatenate(frames, axis=1))
    for clip in cached_clips([open_clip(folder), open_clip(strip)], tmp_path / "decoded", (24, 24)):
        assert isinstance(clip, CachedClip)
        np.testing.assert_array_equal(clip.frames([2, 0, 1]), frames[[2, 0, 1]])


def test_a_folder_without_room_is_named_before_anything_is_written(root, tmp_path, monkeypatch):
    clip, folder = open_clip(root / "train" / "a#0.mp4"), tmp_path / "decoded"
    needed = 6 * 24 * 32 * 3
    Usage = namedtuple("Usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(needed - 1))
    with pytest.raises(OutputError, match="has room for"):
        cached_clips([clip], folder, (24, 32))
    assert not list(folder.glob("*.npy"))
    folder.joinpath(f".0-32x24.npy.{os.getpid()}").write_bytes(b"of a process that was killed")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(needed))
    assert isinstance(cached_clips([clip], folder, (24, 32))[0], CachedClip)
    assert not list(folder.glob(".*.npy*"))


def test_one_process_decodes_at_a_time(root, tmp_path):
    clip, folder = open_clip(root / "train" / "a#0.mp4"), tmp_path / "decoded"
    folder.mkdir()
    other = Thread(target=cached_clips, args=([clip], folder, (24, 32)))
    with FileLock(folder / ".lock"):
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()
        decoded_elsewhere = folder / f"{fingerprint([clip.path])[:16]}-32x24.npy"
        np.save(decoded_elsewhere, np.zeros((6, 24, 32, 3), np.uint8))
    other.join()
    assert np.load(decoded_elsewhere).max() == 0  # was not decoded again


def test_a_disk_that_is_full_all_the_same_is_told(root, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no full device here")
    clip = open_clip(root / "train" / "a#0.mp4")
    job = CachedClip(clip, tmp_path / "a.npy", (24, 32))
    (tmp_path / f".a.npy.{os.getpid()}").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        _decode(job)
    assert not list(tmp_path.glob("*.npy*"))


def test_a_folder_that_cannot_be_written_is_named(root, tmp_path):
    clip = open_clip(root / "train" / "a#0.mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"data\.frame_cache"):
        cached_clips([clip], tmp_path / "file" / "decoded", (24, 32))


def test_a_stream_is_not_decoded(tmp_path):
    with pytest.raises(ValueError, match="leave it out for a stream"):
        DataConfig(source="stream", root="s3://clips", frame_cache=tmp_path)


def test_frames_are_not_decoded_to_an_address():
    for setting in ({"frame_cache": Path("s3://a/b")}, {"stills": {"root": Path("s3://a/b")}}):
        with pytest.raises(ValueError, match="is an address: name a folder"):
            DataConfig.model_validate({"root": Path("clips"), **setting})
