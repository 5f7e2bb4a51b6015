from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.clips import Clip, find_clips
from datasets.config import DataConfig
from datasets.frame_finder import FrameRef
from datasets.pair_list import read_pair_list
from evaluation.make_pairs import make_pairs, write_pair_list
from media.pictures import read_image
from tests.datasets.conftest import moving_bar, write_clip
from utils.errors import InputError


def write_folder(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(moving_bar(number)).save(folder / name)


@pytest.fixture
def root(tmp_path) -> Path:
    """Videos, folders of frames with gaps in their numbers, and a strip, of three people."""
    root = tmp_path / "root"
    for name, num_frames in (("id1#a#1", 9), ("id1#b", 5), ("id2#c", 7)):
        write_clip(root / "test" / f"{name}.mp4", num_frames)
    write_folder(root / "test" / "id3#d", ["0000003.png", "0000004.png", "0000020.png", "21.jpg"])
    write_folder(root / "test" / "id3#e.mp4", ["frame_2.png", "frame_10.png", "frame_11.png"])
    write_folder(root / "test" / "id3#f", ["one.png", "two.png"])
    strip = np.concatenate([moving_bar(number, 32, 32) for number in range(3)], axis=1)
    Image.fromarray(strip).save(root / "test" / "id1#g.png")
    return root


@pytest.fixture
def clips(root) -> list[Clip]:
    return find_clips(DataConfig(root=root), "test")


def fake_clips(people: int, clips_of_each: int, num_frames: int = 100) -> list[Clip]:
    return [
        Clip(Path(f"id{person}#{clip}.mp4"), f"id{person}#{clip}", f"id{person}", num_frames)
        for person in range(people)
        for clip in range(clips_of_each)
    ]


def parts(row: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(cell.rsplit("/", 1)[0], cell.rsplit("/", 1)[1]) for cell in row]


@pytest.mark.parametrize("kind", ["same", "cross"])
def test_lists_are_read_back_as_exactly_the_frames_drawn(tmp_path, root, clips, kind):
    rows = make_pairs(clips, kind, 90, seed=1)
    write_pair_list(tmp_path / "pairs.csv", kind, rows)
    listed = read_pair_list(tmp_path / "pairs.csv", root)
    assert listed.missing == {}
    assert (listed.num_rows, listed.num_duplicates, len(listed.pairs)) == (90, 0, 90)
    by_name = {clip.name: clip for clip in clips}
    for row, pair in zip(rows, listed.pairs, strict=True):
        assert isinstance(pair.driving, FrameRef)
        for (clip, frame), ref in zip(parts(row), (pair.source, pair.driving), strict=True):
            assert (ref.clip, ref.name) == (clip, Path(frame).stem)
            path = by_name[clip].path
            if path.is_dir():
                expected = read_image(path / frame)
            else:
                (expected,) = by_name[clip].frames([int(Path(frame).stem)])
            np.testing.assert_array_equal(ref.read(), expected)
        assert pair.same_identity == (kind == "same")
    assert {ref.clip for pair in listed.pairs for ref in (pair.source, pair.driving)} == {*by_name}


def test_lists_of_whole_clips_are_read_back(tmp_path, root, clips):
    rows = make_pairs(clips, "clips", 20, seed=1)
    write_pair_list(tmp_path / "pairs.csv", "clips", rows)
    listed = read_pair_list(tmp_path / "pairs.csv", root)
    assert listed.missing == {}
    assert len(listed.pairs) == 20
    for (source, driving, _), pair in zip(rows, listed.pairs, strict=True):
        assert isinstance(pair.driving, Clip)
        assert (pair.source.clip, pair.driving.name) == (source, driving)
        assert not pair.same_identity
        assert pair.driving.path.suffix != ".png"
    first = {pair.driving.name: pair.best_frame for pair in listed.pairs}
    assert first["id3#d"] is not None
    assert first["id3#d"].name == "0000003"
    assert first["id3#f"] is None  # its frames have no numbers


def test_two_frames_of_a_clip_are_different_and_no_row_is_repeated():
    rows = make_pairs(fake_clips(3, 2, num_frames=4), "same", 72, seed=0)  # all there are
    assert len(set(rows)) == 72
    for row in rows:
        (clip, frame), (other_clip, other_frame) = parts(row)
        assert clip == other_clip
        assert frame != other_frame


@pytest.mark.parametrize(("kind", "count"), [("cross", 96), ("clips", 24)])
def test_all_pairs_of_two_people_are_available(kind, count):
    rows = make_pairs(fake_clips(3, 2, num_frames=2), kind, count, seed=0)
    assert len(set(rows)) == count
    with pytest.raises(InputError, match=f"give {count} different pairs of the kind {kind}"):
        make_pairs(fake_clips(3, 2, num_frames=2), kind, count + 1, seed=0)


@pytest.mark.parametrize("kind", ["same", "cross"])
def test_people_and_clips_take_turns(kind):
    """One person with many clips does not get more turns."""
    clips = [*fake_clips(4, 3), *fake_clips(5, 30)[-30:]]
    sources = Counter(row[0].split("/")[0] for row in make_pairs(clips, kind, 300, seed=3))
    people = Counter()
    for name, uses in sources.items():
        people[name.split("#")[0]] += uses
    assert set(people.values()) == {60}
    assert {sources[f"id0#{clip}"] for clip in range(3)} == {20}
    assert {sources[f"id4#{clip}"] for clip in range(30)} == {2}


@pytest.mark.parametrize("kind", ["same", "cross", "clips"])
def test_a_seed_gives_one_list(kind):
    clips = fake_clips(5, 3)
    first, again, other = (make_pairs(clips, kind, 30, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_many_clips_are_no_hindrance():
    assert len(make_pairs(fake_clips(400, 50), "cross", 2083, seed=0)) == 2083


def test_what_the_clips_cannot_give_is_refused(clips):
    with pytest.raises(InputError, match="found 1"):
        make_pairs(fake_clips(1, 3), "cross", 1, seed=0)
    with pytest.raises(InputError, match="0 different pairs"):
        make_pairs(fake_clips(3, 1, num_frames=1), "same", 1, seed=0)
    with pytest.raises(InputError, match="2 clips are called"):
        make_pairs([*clips, clips[0]], "same", 1, seed=0)
    with pytest.raises(InputError, match="0 different pairs"):
        make_pairs([], "same", 1, seed=0)


def test_a_list_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_pair_list(tmp_path / "absent" / "pairs.csv", "same", [("a/0.png", "a/1.png")])
