import os

import numpy as np
import pytest
import torch

from datasets.clips import open_clip
from datasets.decoded import DecodedClip, decoded_clips
from datasets.pairs import PairDataset
from datasets.settings import DataConfig
from datasets.training_clips import training_clips
from modules.errors import InputError, OutputError
from tests.datasets.conftest import write_clip


@pytest.fixture
def root(tmp_path):
    for person in "abc":
        write_clip(tmp_path / "root" / "train" / f"{person}#0.mp4", num_frames=6)
    write_clip(tmp_path / "root" / "test" / "d#0.mp4", num_frames=4)
    return tmp_path / "root"


@pytest.mark.parametrize("size", [(24, 32), (16, 16)])
def test_pairs_are_those_of_the_files(root, tmp_path, size):
    files = DataConfig(root=root, size=size, repeats=2)
    decoded = files.model_copy(update={"decoded": tmp_path / "decoded"})
    one, other = (
        PairDataset(training_clips(data, "train"), data, seed=0) for data in (files, decoded)
    )
    assert all(isinstance(clip, DecodedClip) for clip in other.clips)
    for index in range(len(one)):
        for mine, theirs in zip(one[1, index], other[1, index], strict=True):
            assert torch.equal(mine, theirs) if isinstance(mine, torch.Tensor) else mine == theirs


def test_frames_are_decoded_once_and_again_for_another_size_or_a_changed_clip(root, tmp_path):
    folder = tmp_path / "decoded"
    clip = open_clip(root / "train" / "a#0.mp4")

    def files(size=(24, 32)):
        decoded_clips([clip], folder, size)
        return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}

    first = files()
    assert len(first) == 1
    assert files() == first
    assert len(files((16, 16))) == 2
    os.utime(clip.path, (1, 1))
    assert len(files()) == 3
    assert not list(folder.glob(".*.new"))


def test_a_clip_that_is_damaged_stays_as_it_is(root, tmp_path, caplog):
    paths = sorted((root / "train").iterdir())
    clips = [open_clip(path) for path in paths]
    data = paths[1].read_bytes()
    paths[1].write_bytes(data[: len(data) // 3])
    decoded = decoded_clips(clips, tmp_path / "decoded", (24, 32))
    assert [isinstance(clip, DecodedClip) for clip in decoded] == [True, False, True]
    assert decoded[1] is clips[1]
    assert str(paths[1]) in caplog.text


def test_a_file_that_vanished_or_is_damaged_is_named(root, tmp_path):
    clip = open_clip(root / "train" / "a#0.mp4")
    (decoded,) = decoded_clips([clip], tmp_path / "decoded", (24, 32))
    assert np.shape(decoded.frames([2, 0])) == (2, 24, 32, 3)
    (file,) = (tmp_path / "decoded").glob("*.npy")
    file.write_bytes(b"")
    with pytest.raises(InputError, match=file.name):
        decoded.frames([0])
    file.unlink()
    with pytest.raises(InputError, match=file.name):
        decoded.frames([0])


def test_a_folder_that_cannot_be_written_is_named(root, tmp_path):
    clip = open_clip(root / "train" / "a#0.mp4")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"data\.decoded"):
        decoded_clips([clip], tmp_path / "file" / "decoded", (24, 32))


def test_a_stream_is_not_decoded(tmp_path):
    with pytest.raises(ValueError, match="leave it out for a stream"):
        DataConfig(source="stream", root="s3://clips", decoded=tmp_path)
