from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datasets.clips import Clip, find_clips
from datasets.config import AugmentationConfig, StillsConfig
from datasets.frame_pairs import (
    DataConfig,
    PairDataset,
    PairSampler,
    collate,
    fixed_pairs,
    load_frames,
)
from datasets.stills import Still
from tests.datasets.conftest import assert_equal, save, solid, write_clip, write_frames
from utils.errors import InputError

NO_AUGMENTATION = AugmentationConfig(
    horizontal_flip=False, time_flip=False, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people with three, two and one clips."""
    root = tmp_path_factory.mktemp("root")
    for number, person in enumerate(["id1", "id1", "id1", "id2", "id2", "id3"]):
        write_clip(root / "train" / f"{person}#{number}.mp4", num_frames=10 + 5 * number)
    write_clip(root / "test" / "id4#0.mp4")
    return root


@pytest.fixture
def config(root: Path) -> DataConfig:
    return DataConfig(root=root, size=(24, 32), repeats=4, augmentation=NO_AUGMENTATION)


@pytest.fixture
def clips(config: DataConfig) -> list[Clip]:
    return find_clips(config, "train")


def test_a_pair_depends_on_seed_epoch_and_index_alone(clips, config):
    config = config.model_copy(update={"augmentation": AugmentationConfig()})
    dataset = PairDataset(clips, config, seed=3)
    first = [dataset[2, index] for index in range(len(dataset))]
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  (the global state that must not matter)
    again = PairDataset(clips, config, seed=3)
    for index in reversed(range(len(dataset))):
        assert_equal(again[2, index], first[index])
    for other in (dataset[3, 0], PairDataset(clips, config, seed=4)[2, 0]):
        assert not torch.equal(other.source, first[0].source)


def test_pairs_are_two_different_frames_of_the_clip_they_name(clips, config):
    config = config.model_copy(update={"size": (48, 64)})
    dataset = PairDataset(clips, config, seed=0)
    by_name = {clip.name: clip for clip in clips}
    for index in range(12):
        pair = dataset[0, index]
        assert pair.source.shape == (3, 48, 64)
        assert pair.source.dtype == torch.uint8
        clip = by_name[pair.clip]
        frames = torch.from_numpy(np.stack(clip.frames(range(clip.num_frames))))
        frames = frames.permute(0, 3, 1, 2)
        (source,) = [n for n, frame in enumerate(frames) if torch.equal(frame, pair.source)]
        (driving,) = [n for n, frame in enumerate(frames) if torch.equal(frame, pair.driving)]
        assert source < driving


def test_a_clip_of_one_frame_is_paired_with_itself(tmp_path):
    for name in ("id1", "id2"):
        write_clip(tmp_path / "train" / f"{name}.mp4", num_frames=1)
    config = DataConfig(root=tmp_path, size=32)
    pair = PairDataset(find_clips(config, "train"), config, seed=0)[0, 0]
    assert torch.equal(pair.source, pair.driving)
    with pytest.raises(InputError, match="two readable frames"):
        fixed_pairs(find_clips(config, "train"), config, count=2)


def test_an_epoch_passes_over_people_or_over_clips(clips, config):
    people = PairDataset(clips, config, seed=0)
    assert len(people) == 3 * 4
    drawn = [people[epoch, index].clip for epoch in range(3) for index in range(len(people))]
    assert [name[:3] for name in drawn] == ["id1", "id2", "id3"] * 12
    assert set(drawn) == {clip.name for clip in clips}

    config = config.model_copy(update={"identity_sampling": False})
    each = PairDataset(clips, config, seed=0)
    assert [each[0, index].clip for index in range(len(each))] == [c.name for c in clips] * 4


def test_stills_take_the_place_of_a_share_of_the_pairs(tmp_path, clips, config):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    stills = []
    for person, count in {"a": 3, "b": 1}.items():
        for number in range(count):
            path = save(tmp_path / f"{person}#{number}.png", pixels)
            stills.append(Still(path, path.stem, person, 1))
    still = StillsConfig(root=tmp_path, share=0.25)
    config = config.model_copy(update={"stills": still, "repeats": 60})
    dataset = PairDataset(clips, config, 0, stills)
    pairs = [dataset[0, index] for index in range(len(dataset))]
    names = [pair.clip for pair in pairs]
    assert 0.18 < sum("#" in name and name[0] in "ab" for name in names) / len(names) < 0.32
    of_b = names.count("b#0")
    assert 0.35 < of_b / sum(name[0] in "ab" for name in names) < 0.65  # people, not pictures
    for pair in pairs:
        if pair.clip == "b#0":
            assert (pair.source.int() - pair.driving.int()).abs().float().mean() > 5  # it moved
    (clip,) = [clip for clip in clips if clip.name == "id3#5"]
    frames = load_frames(clip, range(clip.num_frames), (24, 32))
    for pair in pairs:
        if pair.clip == "id3#5":  # frames of a video stay where they are
            assert any(torch.equal(pair.source, frame) for frame in frames)
            assert any(torch.equal(pair.driving, frame) for frame in frames)
    assert_equal(dataset[0, 7], PairDataset(clips, config, 0, stills)[0, 7])


def test_a_resized_frame_is_anti_aliased(tmp_path, config):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    path = save(tmp_path / "strip.png", np.concatenate([stripes, stripes], axis=1))
    clip = Clip(path, "strip", "strip", 2)
    pair = PairDataset([clip], config.model_copy(update={"size": 16}), seed=0)[0, 0]
    assert (pair.source[:, :, 2:-2].int() - 128).abs().max() <= 8


@pytest.mark.parametrize("size", [(20, 30), (90, 70), (24, 32)])
def test_frames_are_brought_to_a_size_and_laid_out_anew(clips, size):
    images = load_frames(clips[0], [3, 1], size)
    assert images.is_contiguous()
    for image, frame in zip(images, clips[0].frames([3, 1]), strict=True):
        picture = Image.fromarray(frame).resize(size[::-1], Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(image.permute(1, 2, 0), picture)


def test_the_frames_of_a_folder_may_differ_in_size(tmp_path, config):
    write_frames(tmp_path, [solid(90, 40, 60), solid(91, 24, 32)])
    pair = PairDataset([Clip(tmp_path, "a", "a", 2)], config, seed=0)[0, 0]
    assert [int(image[:, 12, 16].unique()) for image in (pair.source, pair.driving)] == [90, 91]
    assert pair.source.shape == pair.driving.shape == (3, 24, 32)


def test_pairs_become_a_batch_and_that_float_on_the_device(clips, config):
    pairs = [PairDataset(clips, config, seed=0)[0, index] for index in range(3)]
    pairs[1] = pairs[1]._replace(unreadable=("a", "b"))
    batch = collate(pairs)
    assert (batch.clips, batch.unreadable) == ([pair.clip for pair in pairs], ["a", "b"])
    assert batch.source.dtype == torch.uint8
    source, driving, landmarks = batch.frames(torch.device("cpu"))
    assert landmarks.shape == (3, 2, 68, 2)
    torch.testing.assert_close(source, batch.source.double() / 255, check_dtype=False)
    torch.testing.assert_close(driving[2], pairs[2].driving.float() / 255)
    assert source.dtype == driving.dtype == torch.float32


def test_a_clip_that_turns_out_damaged_is_named_and_replaced(tmp_path, config):
    for number in range(4):
        path = write_clip(tmp_path / "train" / f"id{number}.mp4")
    clips = find_clips(config.model_copy(update={"root": tmp_path}), "train")
    path.write_bytes(path.read_bytes()[:-300])
    dataset = PairDataset(clips, config, seed=0)
    pairs = [dataset[0, index] for index in range(len(dataset))]
    assert {pair.clip for pair in pairs} == {"id0", "id1", "id2"}
    assert [set(pair.unreadable) for pair in pairs] == [set(), set(), set(), {"id3"}] * 4
    assert_equal(dataset[0, 3], pairs[3])
    for number in range(3):
        (tmp_path / "train" / f"id{number}.mp4").unlink()
    with pytest.raises(InputError, match="in a row"):
        dataset[0, 0]


def batches(count: int, **settings) -> list[list[tuple[int, int]]]:
    return list(islice(PairSampler(29, **{"batch_size": 4, "seed": 1, **settings}), count))


def test_every_epoch_is_shuffled_anew_and_drops_its_tail():
    keys = [key for batch in batches(14) for key in batch]
    assert [epoch for epoch, _ in keys] == [0] * 28 + [1] * 28
    epochs = [[index for epoch, index in keys if epoch == wanted] for wanted in (0, 1)]
    assert all(len(set(epoch)) == 28 and set(epoch) < set(range(29)) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert batches(3, seed=2) != batches(3)


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 20])
def test_the_batches_go_on_from_any_one(start):
    assert batches(9, start_batch=start) == batches(start + 9)[start:]


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_all_processes_together_draw_what_one_draws(world_size):
    shares = [batches(12, batch_size=2, rank=r, world_size=world_size) for r in range(world_size)]
    together = [list(chain(*rows)) for rows in zip(*shares, strict=True)]
    assert together == batches(12, batch_size=2 * world_size)


def test_an_epoch_shorter_than_a_batch_is_an_input_error():
    with pytest.raises(InputError, match=r"data\.repeats"):
        PairSampler(29, batch_size=8, seed=0, world_size=4)


def test_fixed_pairs_are_the_same_always_and_spread(clips, config):
    pairs = fixed_pairs(clips, config, count=12)
    for pair, again in zip(pairs, fixed_pairs(clips, config, count=12), strict=True):
        assert_equal(pair, again)
    assert [pair.clip[:3] for pair in pairs[:3]] == ["id1", "id2", "id3"]
    assert {pair.clip for pair in pairs[:6]} == {clip.name for clip in clips}
    for pair, later in zip(pairs[:6], pairs[6:], strict=True):
        assert not torch.equal(pair.driving, pair.source)
        assert torch.equal(pair.source, later.source)
        assert not torch.equal(pair.driving, later.driving)


def test_fixed_pairs_leave_damaged_clips_out(tmp_path, config, caplog):
    for number in range(3):
        path = write_clip(tmp_path / "train" / f"id{number}.mp4")
    clips = find_clips(config.model_copy(update={"root": tmp_path}), "train")
    path.write_bytes(path.read_bytes()[:-300])
    pairs = fixed_pairs(clips, config, count=5)
    assert [pair.clip for pair in pairs] == ["id0", "id1", "id0", "id1", "id0"]
    assert caplog.text.count("id2.mp4") == 1
