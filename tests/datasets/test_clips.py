import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from datasets.clips import find_clips, survey_clips
from datasets.config import DataConfig
from media.video import read_frames
from tests.datasets.conftest import moving_bar, save, write_clip, write_frames
from utils.errors import InputError

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "clips"


def test_clips_of_every_kind_are_found_and_counted(tmp_path):
    train = tmp_path / "train"
    write_clip(train / "id1#a#000000#000007.mp4", num_frames=7)
    write_clip(train / "id1#b.gif", num_frames=5)
    write_frames(
        train / "id2#c.mp4", map(moving_bar, range(11)), "{}.png"
    )  # a folder, whatever its name
    save(train / "id3.png", np.concatenate([moving_bar(n, 32, 32) for n in range(4)], axis=1))
    (train / "README.md").write_text("not a clip")
    (train / ".hidden.mp4").write_text("not a clip")
    clips = find_clips(DataConfig(root=tmp_path), "train")
    assert [(clip.name, clip.identity, clip.num_frames) for clip in clips] == [
        ("id1#a#000000#000007", "id1", 7),
        ("id1#b", "id1", 5),
        ("id2#c.mp4", "id2", 11),
        ("id3", "id3", 4),
    ]
    np.testing.assert_array_equal(clips[2].frames([10, 0]), [moving_bar(10), moving_bar(0)])
    np.testing.assert_array_equal(clips[3].frames([3])[0], moving_bar(3, 32, 32))
    expected = [frame.image for frame in read_frames(clips[0].path)]
    np.testing.assert_array_equal(clips[0].frames(range(7)), expected)


def test_clips_in_folders_of_people_are_named_by_these(tmp_path):
    train = tmp_path / "train"
    first = write_clip(train / "ann" / "a.mp4", num_frames=3)
    for name in ("ann/b.mov", "bob/a.mp4", "bob/bob#c.mp4", "carl#2/x.mp4", "dan#d.mp4"):
        (train / name).parent.mkdir(exist_ok=True)
        shutil.copy(first, train / name)
    (train / "eve" / "21Uxsk56VDQ").mkdir(parents=True)
    shutil.copy(first, train / "eve" / "21Uxsk56VDQ" / "00001.mp4")
    write_frames(train / "fay" / "walk", map(moving_bar, range(4)), "{}.png")
    write_frames(train / "gus#clip", map(moving_bar, range(2)), "{}.png")
    (train / "ann" / "notes.txt").write_text("not a clip")
    clips = find_clips(DataConfig(root=tmp_path), "train")
    assert [(clip.name, clip.identity, clip.num_frames) for clip in clips] == [
        ("ann#a", "ann", 3),
        ("ann#b", "ann", 3),
        ("bob#a", "bob", 3),
        ("bob#c", "bob", 3),
        ("carl#2#x", "carl", 3),
        ("dan#d", "dan", 3),
        ("eve#21Uxsk56VDQ#00001", "eve", 3),
        ("fay#walk", "fay", 4),
        ("gus#clip", "gus", 2),
    ]
    np.testing.assert_array_equal(clips[7].frames([2]), [moving_bar(2)])


def test_what_systems_leave_is_passed_over(tmp_path):
    first = write_clip(tmp_path / "train" / "ann" / "a.mp4", num_frames=2)
    write_frames(tmp_path / "train" / "bob#b", map(moving_bar, range(2)), "{}.png")
    left = "__MACOSX/._a.mp4 __MACOSX/ann/a.mp4 .hidden/a.mp4 ann/._a.mp4 ._c.mp4 ann/.DS_Store "
    left += "ann/Thumbs.db ann/@eaDir/a.mp4 $RECYCLE.BIN/a.mp4 lost+found/a.mp4 bob#b/._0.png "
    left += "bob#b/.DS_Store"
    for name in [*left.split(), "System Volume Information/x.mp4"]:
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(first, tmp_path / "train" / name)
    clips = find_clips(DataConfig(root=tmp_path), "train")
    assert [(clip.name, clip.num_frames) for clip in clips] == [("ann#a", 2), ("bob#b", 2)]


def test_an_unreadable_clip_of_a_person_is_named_with_its_folder(tmp_path):
    for person in ("ann", "bob"):
        (tmp_path / "train" / person).mkdir(parents=True)
        (tmp_path / "train" / person / "1.mp4").write_text("no video")
    _, unreadable = survey_clips(DataConfig(root=tmp_path), "train")
    assert list(unreadable) == ["ann/1.mp4", "bob/1.mp4"]


def test_splits_are_the_folders_where_there_are_any(tmp_path):
    write_clip(tmp_path / "train" / "id1#a.mp4", num_frames=2)
    with pytest.raises(InputError, match="no folder test"):
        find_clips(DataConfig(root=tmp_path), "test")
    write_clip(tmp_path / "test" / "id2#a.mp4", num_frames=2)
    assert [clip.identity for clip in find_clips(DataConfig(root=tmp_path), "train")] == ["id1"]
    assert [clip.identity for clip in find_clips(DataConfig(root=tmp_path), "test")] == ["id2"]


def test_other_roots_are_split_by_person_and_seed(tmp_path):
    first = write_clip(tmp_path / "id00#a.mp4", num_frames=2)
    for number in range(30):
        shutil.copy(first, tmp_path / f"id{number // 3:02}#{number}.mp4")

    def people(split, seed):
        config = DataConfig(root=tmp_path, test_share=0.3, split_seed=seed)
        return {clip.identity for clip in find_clips(config, split)}

    assert people("train", 0) | people("test", 0) == {f"id{number:02}" for number in range(10)}
    assert not people("train", 0) & people("test", 0)
    assert len(people("test", 0)) == 3
    assert len({frozenset(people("test", seed)) for seed in range(5)}) > 1


def test_one_person_cannot_be_split(tmp_path):
    write_clip(tmp_path / "id1#a.mp4", num_frames=2)
    with pytest.raises(InputError, match="one person only"):
        find_clips(DataConfig(root=tmp_path), "train")


def test_a_few_unreadable_clips_are_named_once_and_left_out(tmp_path, caplog):
    first = write_clip(tmp_path / "train" / "id00#a.mp4")
    for number in range(1, 39):
        shutil.copy(first, tmp_path / "train" / f"id{number}#a.mp4")
    (tmp_path / "train" / "text.mp4").write_text("no video")
    (tmp_path / "train" / "cut.mp4").write_bytes(first.read_bytes()[:-500])
    with caplog.at_level(logging.WARNING):
        clips = find_clips(DataConfig(root=tmp_path), "train")
    assert len(clips) == 39
    assert caplog.text.count("text.mp4") == caplog.text.count("cut.mp4") == 1


@pytest.mark.parametrize("num_good", [0, 1, 18])
def test_many_unreadable_clips_stop_with_a_sentence(tmp_path, num_good):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "text.mp4").write_text("no video")
    if num_good:
        first = write_clip(tmp_path / "train" / "0.mp4", num_frames=2)
        for number in range(1, num_good):
            shutil.copy(first, tmp_path / "train" / f"{number}.mp4")
    with pytest.raises(
        InputError, match=rf"^1 of the {num_good + 1} clips[^\n]*text\.mp4[^\n]*\.$"
    ):
        find_clips(DataConfig(root=tmp_path), "train")


def test_a_picture_that_is_no_strip_is_unreadable(tmp_path):
    save(tmp_path / "train" / "portrait.png", moving_bar(0))
    with pytest.raises(InputError, match="no strip of square frames"):
        find_clips(DataConfig(root=tmp_path), "train")


def test_a_root_without_clips_is_one_sentence(tmp_path):
    for root in (tmp_path / "missing", tmp_path):
        with pytest.raises(InputError, match=rf"^[^\n]*{root.name}[^\n]*\.$"):
            find_clips(DataConfig(root=root), "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match="holds no clips"):
        find_clips(DataConfig(root=tmp_path), "train")


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="the folder ../shared/clips is absent")
def test_real_clips_are_all_readable():
    clips = find_clips(DataConfig(root=REAL_CLIPS), "test")
    listed = [line.split("\t")[0] for line in (REAL_CLIPS / "SOURCES.tsv").read_text().splitlines()]
    expected = sorted(name for name in listed if name.startswith("test/"))
    assert [f"test/{clip.name}.mp4" for clip in clips] == expected != []
    assert all(clip.num_frames == int(clip.name[-6:]) - int(clip.name[-13:-7]) for clip in clips)


def test_a_clip_whose_name_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "id1#a\rb.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="not one line of UTF-8: rename it"):
        find_clips(DataConfig(root=tmp_path), "test")
