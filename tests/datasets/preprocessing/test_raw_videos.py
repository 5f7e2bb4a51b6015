import os
from pathlib import Path

import pytest

from datasets.preprocessing.raw_videos import find_raw_videos
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "videos"


def make(folder: Path, *names: str, content: bytes = b"video") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def found(folder: Path) -> dict[str, str]:
    return {video: str(path.relative_to(folder)) for video, path in find_raw_videos(folder).items()}


def test_videos_of_any_container_in_any_folder_are_found_by_their_ids(folder):
    make(folder, "b.webm", "a.mp4", "x/y/c.d.MKV", "x/-e_.avi", "notes.txt", "a.jpg", "a.info.json")
    videos = found(folder)
    assert videos == {"-e_": "x/-e_.avi", "a": "a.mp4", "b": "b.webm", "c.d": "x/y/c.d.MKV"}
    assert list(videos) == sorted(videos)


def test_a_title_before_the_id_is_no_part_of_it(folder):
    make(folder, "A talk [of 2 hours] [abc-_123XYZ].webm", "[only].mp4")
    videos = found(folder)
    assert videos["abc-_123XYZ"] == "A talk [of 2 hours] [abc-_123XYZ].webm"
    assert videos["only"] == "[only].mp4"
    assert "of 2 hours" not in videos


def test_unfinished_and_hidden_files_are_none(folder):
    make(folder, "a.mp4.part", "b.mp4.ytdl", "c.temp.mp4", "d.f137.mp4", "d.f251-drc.webm")
    make(folder, "e.mp4.part-Frag12", ".f.mp4", ".work/g.mp4", "h.mp4.temp", "title [i].f22.mp4")
    make(folder, "__MACOSX/l.mp4", "__MACOSX/x/._m.mp4", "@eaDir/n.mp4", "$RECYCLE.BIN/o.mp4")
    os.symlink(folder / "nothing", folder / "j.mp4")
    (folder / "k.mp4").mkdir()
    assert found(folder) == {}


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("v.mp4", "v.mkv"),
        ("v.mkv", "v.webm"),
        ("v.webm", "x/v.mp4"),
        ("x/y/v.avi", "title [v].mp4"),
        ("title [v].avi", "x/title [v].mp4"),
        ("a title [v].mp4", "title [v].mp4"),
        ("a/v.mp4", "b/v.mp4"),
    ],
)
def test_of_several_files_of_one_id_always_the_same_counts(folder, better, worse):
    make(folder, better, worse)
    assert found(folder)["v"] == better


def test_an_empty_file_counts_only_where_there_is_no_other(folder):
    make(folder, "v.mp4", "w.mp4", content=b"")
    make(folder, "x/title [v].avi")
    assert found(folder)["v"] == "x/title [v].avi"
    assert found(folder)["w"] == "w.mp4"


def test_links_are_followed_and_loops_do_no_harm(folder, tmp_path):
    make(tmp_path / "elsewhere", "a.mp4", "deep/b.mp4")
    make(folder, "c.mp4", "x/d.mp4")
    os.symlink(tmp_path / "elsewhere", folder / "linked")
    os.symlink(tmp_path / "elsewhere" / "a.mp4", folder / "e.mp4")
    os.symlink(folder, folder / "x" / "back")
    os.symlink(folder / "x", tmp_path / "elsewhere" / "deep" / "round")
    os.symlink("itself", folder / "itself")
    videos = find_raw_videos(folder)
    assert list(videos) == ["a", "b", "c", "d", "e"]
    assert all(path.is_file() for path in videos.values())


def test_a_folder_that_is_none_is_refused(folder):
    with pytest.raises(InputError, match="does not exist"):
        find_raw_videos(folder)
    folder.touch()
    with pytest.raises(InputError, match="is no folder"):
        find_raw_videos(folder)
