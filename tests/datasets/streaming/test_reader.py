"""Streams give what files give: the same clips, the same pairs, the same batches."""

import pickle
import shutil
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from datasets.config import DataConfig
from datasets.dataloader import load_batches
from datasets.frame_pairs import Batch, PairDataset, PairSampler, fixed_pairs
from datasets.records import FACE_CROP
from datasets.streaming.reader import MANIFEST, Stream
from datasets.streaming.storage import StreamError
from datasets.streaming.writer import write_stream
from datasets.training_clips import training_clips, with_face_crop
from faces.crop import FaceCropConfig
from tests.datasets.conftest import assert_equal, encode, moving_bar, save, write_clip, write_frames
from utils.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two kinds, a folder of frames and a strip; two of three people for training."""
    root = tmp_path_factory.mktemp("clips")
    train = root / "train"
    for number in range(3):
        write_clip(train / f"id1#{number}.mp4", num_frames=10 + 5 * number)
    encode(train / "id2#0.avi", "mpeg4")
    write_frames(train / "id3#0", map(moving_bar, range(12)), "frame{}.png")  # 2 before 10
    strip = np.concatenate([moving_bar(number, 32, 32) for number in range(7)], axis=1)
    save(train / "id3#1.png", strip)
    for number in range(2):
        write_clip(root / "test" / f"id4#{number}.mp4")
    return root


@pytest.fixture(scope="module")
def stream(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("stream") / "out"
    write_stream(root, str(output), workers=2)
    return output


@pytest.fixture
def files_config(root: Path) -> DataConfig:
    return DataConfig(root=root, size=(24, 32), repeats=4)


@pytest.fixture
def stream_config(files_config: DataConfig, stream: Path, tmp_path: Path) -> DataConfig:
    changes = {"root": stream, "source": "stream", "cache": tmp_path / "cache"}
    return files_config.model_copy(update=changes)


def pairs_of(config: DataConfig, seed: int = 3) -> PairDataset:
    return PairDataset(training_clips(config, "train"), config, seed)


def batches(config: DataConfig, workers: int, count: int, **settings: int) -> list[Batch]:
    dataset = pairs_of(config)
    sampler = PairSampler(len(dataset), batch_size=2, seed=1, **settings)
    return list(islice(load_batches(dataset, sampler, workers, pin_memory=False), count))


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_clips_are_those_of_the_files(files_config, stream_config, split):
    files, streamed = (training_clips(c, split) for c in (files_config, stream_config))
    facts = [[(c.name, c.identity, c.num_frames) for c in clips] for clips in (files, streamed)]
    assert facts[0] == facts[1]
    for one, other in zip(files, streamed, strict=True):
        numbers = [one.num_frames - 1, 0, 2]
        np.testing.assert_array_equal(one.frames(numbers), other.frames(numbers))


def test_a_root_without_folders_is_split_alike(tmp_path):
    for number in range(9):
        write_clip(tmp_path / "clips" / f"id{number}#0.mp4", num_frames=2)
    write_stream(tmp_path / "clips", str(tmp_path / "stream"), workers=1)
    for seed in range(3):
        files = DataConfig(root=tmp_path / "clips", test_share=0.3, split_seed=seed)
        update = {"root": tmp_path / "stream", "source": "stream"}
        streamed = files.model_copy(update=update)
        for split in ("train", "test"):
            names = [[c.name for c in training_clips(x, split)] for x in (files, streamed)]
            assert names[0] == names[1]


def test_pairs_are_those_of_the_files_bit_for_bit(files_config, stream_config):
    files, streamed = pairs_of(files_config), pairs_of(stream_config)
    assert len(files) == len(streamed)
    for epoch in (0, 1, 7):
        for index in range(len(files)):
            assert_equal(files[epoch, index], streamed[epoch, index])


def test_fixed_pairs_are_those_of_the_files(files_config, stream_config):
    for one, other in zip(
        *(fixed_pairs(training_clips(c, "test"), c, 5) for c in (files_config, stream_config)),
        strict=True,
    ):
        assert_equal(one, other)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"start_batch": 8},
        {"rank": 0, "world_size": 2},
        {"rank": 1, "world_size": 2, "start_batch": 3},
    ],
)
def test_batches_of_workers_are_those_of_the_files(files_config, stream_config, settings):
    expected, found = (
        batches(config, workers, 5, **settings)
        for config, workers in ((files_config, 0), (stream_config, 2))
    )
    for one, other in zip(expected, found, strict=True):
        assert_equal(one, other)


def test_a_stream_that_was_read_goes_to_another_process(stream_config):
    (clip, *_) = training_clips(stream_config, "train")
    clip.frames([0])
    again = pickle.loads(pickle.dumps(clip))
    assert clip.stream.__getstate__()["_items"] is None  # which may hold connections
    np.testing.assert_array_equal(again.frames([3]), clip.frames([3]))


def test_a_process_that_was_forked_reads_by_itself(stream, tmp_path, monkeypatch):
    opened = Stream(stream, tmp_path, 0)
    items = opened.items
    assert opened.items is items
    monkeypatch.setattr("os.getpid", lambda: -1)  # connections must not be shared
    assert opened.items is not items


def test_streams_share_no_cache(root, stream, tmp_path):
    write_stream(root / "test", str(tmp_path / "other"), workers=1)
    caches = [Stream(path, tmp_path, 0).cache for path in (stream, stream, tmp_path / "other")]
    assert caches[0] == caches[1] != caches[2]


def test_a_clip_can_be_had_as_a_file(files_config, stream_config, tmp_path):
    files, streamed = (training_clips(c, "train") for c in (files_config, stream_config))
    for one, other in zip(files, streamed, strict=True):
        copy = other.as_file(tmp_path)
        assert copy.parent == tmp_path
        if one.path.is_dir():
            names = sorted(path.name for path in one.path.iterdir())
            assert sorted(path.name for path in copy.iterdir()) == names
        else:
            assert copy.read_bytes() == one.path.read_bytes()


def damaged_copy(stream: Path, folder: Path) -> Path:
    shutil.copytree(stream, folder / "damaged")
    return folder / "damaged"


def test_a_damaged_clip_is_named_and_replaced(stream, stream_config, tmp_path):
    copy = damaged_copy(stream, tmp_path)
    (shard,) = copy.glob("chunk-*.bin")
    content = bytearray(shard.read_bytes())
    clips = training_clips(stream_config, "train")
    data = clips[1].stream.read(clips[1].number).data
    place = bytes(content).find(data)
    content[place + len(data) // 2] ^= 1
    shard.write_bytes(content)
    config = stream_config.model_copy(update={"root": copy, "identity_sampling": False})
    dataset = pairs_of(config)
    with pytest.raises(InputError, match=r"is damaged where the clip id1#1 is"):  # by one bit
        dataset.clips[1].stream.read(1)
    unreadable = [set(dataset[0, index].unreadable) for index in range(len(clips))]
    assert unreadable[1] == {"id1#1"}
    assert not unreadable[0]


def test_a_shard_that_was_cut_or_lost_is_told(stream, stream_config, tmp_path):
    copy = damaged_copy(stream, tmp_path)
    (shard,) = copy.glob("chunk-*.bin")
    shard.write_bytes(shard.read_bytes()[:-40_000])
    config = stream_config.model_copy(update={"root": copy})
    clips = training_clips(config, "test")
    with pytest.raises(InputError, match=r"is damaged where the clip id4#1 is"):
        clips[-1].frames([0])
    shard.unlink()
    clips = training_clips(config, "train")
    with pytest.raises(InputError, match=r"is damaged where the clip id1#0 is"):
        clips[0].frames([0])


def test_what_is_no_finished_stream_is_told(stream, stream_config, tmp_path):
    copy = damaged_copy(stream, tmp_path)
    config = stream_config.model_copy(update={"root": copy})
    (copy / MANIFEST).write_text("{")
    with pytest.raises(InputError, match=r"clips\.json is damaged"):
        training_clips(config, "train")
    (copy / MANIFEST).unlink()
    with pytest.raises(InputError, match="holds no finished stream"):
        training_clips(config, "train")


@pytest.mark.parametrize("content", [None, "{"])
def test_a_stream_without_its_index_stops_at_once(stream, stream_config, tmp_path, content):
    copy = damaged_copy(stream, tmp_path)
    (copy / "index.json").unlink()
    if content is not None:
        (copy / "index.json").write_text(content)
    dataset = pairs_of(stream_config.model_copy(update={"root": copy}))
    with pytest.raises(StreamError, match=r"is damaged where its index\.json is"):
        _ = dataset[0, 0]


def test_without_litdata_nothing_is_called_damaged(stream_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "litdata", None)
    with pytest.raises(InputError, match=r"pip install -r requirements-stream\.txt"):
        training_clips(stream_config, "train")


def test_files_are_asked_for_where_a_stream_does_not_do(stream_config):
    with pytest.raises(InputError, match=r"is a stream: set data\.source=files"):
        _ = stream_config.folder


@pytest.fixture
def remote(monkeypatch, stream):
    """s3://bucket/clips: what is read of it comes from the local stream, and is counted."""
    pytest.importorskip("litdata")
    from litdata.streaming import config, downloader, fs_provider

    class Bucket(downloader.Downloader):
        fetched: list[int] = []  # noqa: RUF012
        broken = False

        def __init__(self, remote_dir, cache_dir, chunks, *args, **kwargs):
            super().__init__(remote_dir, cache_dir, chunks)

        def download_file(self, remote, local):
            assert not remote.endswith(".bin")  # no whole shards
            shutil.copy(stream / remote.removeprefix("s3://bucket/clips/"), local)

        def download_bytes(self, remote, offset, length, local):
            if self.broken:
                raise OSError("no route to host")
            self.fetched.append(int(length))
            data = (stream / remote.removeprefix("s3://bucket/clips/")).read_bytes()
            return data[int(offset) : int(offset) + int(length)]

    class Provider:
        def exists(self, url):
            return (stream / url.removeprefix("s3://bucket/clips/")).is_file()

        def download_file(self, url, local):
            shutil.copy(stream / url.removeprefix("s3://bucket/clips/"), local)

    monkeypatch.setattr(fs_provider, "_get_fs_provider", lambda *_: Provider())
    monkeypatch.setattr(config, "get_downloader", Bucket)
    monkeypatch.setattr("litdata.utilities.dataset_utilities.get_downloader", Bucket)
    return Bucket


def test_clips_of_a_url_are_fetched_alone_and_kept(remote, files_config, stream_config):
    config = stream_config.model_copy(update={"root": "s3://bucket/clips/"})
    files, streamed = pairs_of(files_config), pairs_of(config)
    for index in range(len(files)):
        assert_equal(files[0, index], streamed[0, index])
    count, sizes = len(remote.fetched), [e.size for e in streamed.clips[0].stream.entries]
    assert max(remote.fetched) < max(sizes) + 1000
    again = pairs_of(config)
    for index in range(len(files)):
        assert_equal(files[0, index], again[0, index])
    assert len(remote.fetched) == count
    kept = sorted(path for path in config.cache.rglob("*") if path.suffix in (".mp4", ".avi"))
    kept[0].write_bytes(b"damaged")
    for index in range(len(files)):
        assert_equal(files[0, index], again[0, index])


@pytest.mark.usefixtures("remote")
def test_the_face_crop_of_a_url_is_taken_over(stream, stream_config):
    config = stream_config.model_copy(update={"root": "s3://bucket/clips"})
    assert with_face_crop(config).face_crop is None
    face_crop = FaceCropConfig(aspect=1.2, face_x=0.5, face_y=0.5, face_width=0.6)
    (stream / FACE_CROP).write_text(face_crop.model_dump_json())
    try:
        assert with_face_crop(config).face_crop == face_crop
    finally:
        (stream / FACE_CROP).unlink()


@pytest.mark.usefixtures("remote")
def test_the_cache_holds_no_more_than_it_may(stream_config, tmp_path):
    sizes = [e.size for e in Stream(stream_config.root, tmp_path, 1).entries]
    config = stream_config.model_copy(
        update={"root": "s3://bucket/clips", "cache_gb": (sizes[0] + sizes[1] + 10) / 1e9}
    )
    for clip in training_clips(config, "train"):
        clip.frames([0])
    kept = [p for p in config.cache.rglob("*.*") if p.suffix in (".mp4", ".avi", ".zip", ".png")]
    assert sorted(path.stat().st_size for path in kept) == sorted(sizes[:2])


def test_a_network_that_fails_stops_and_changes_no_pair(remote, stream_config, monkeypatch):
    monkeypatch.setattr(remote, "broken", True)
    config = stream_config.model_copy(update={"root": "s3://bucket/clips"})
    dataset = pairs_of(config)
    with pytest.raises(StreamError, match=r"s3://bucket/clips .*no route to host"):
        dataset[0, 0]
    with pytest.raises(StreamError, match="no route to host"):
        fixed_pairs(dataset.clips, config, 5)
