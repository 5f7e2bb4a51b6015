import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from datasets.preprocessing.raw_videos import distinct_names, find_by_id, find_by_person
from utils.errors import InputError


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "videos"


def make(folder: Path, *names: str, content: bytes = b"video") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def found(folder: Path) -> dict[str, str]:
    return {video: str(path.relative_to(folder)) for video, path in find_by_id(folder).items()}


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
    videos = find_by_id(folder)
    assert list(videos) == ["a", "b", "c", "d", "e"]
    assert all(path.is_file() for path in videos.values())


def test_a_folder_that_is_none_is_refused(folder):
    with pytest.raises(InputError, match="does not exist"):
        find_by_id(folder)
    folder.touch()
    with pytest.raises(InputError, match="is no folder"):
        find_by_id(folder)


def names(folder: Path, identity: str) -> list[tuple[str, str]]:
    return [(person, video) for _, person, video in find_by_person(folder, identity)[0]]


def details(problems: Sequence[tuple[str, str, str | None, str]]) -> list[tuple[str | None, str]]:
    return [(reason, detail) for _, _, reason, detail in problems]


def test_a_person_is_the_folder_that_holds_the_videos_at_any_depth(tmp_path):
    folder = make(tmp_path / "raw", "ann/x.mp4", "ann/b/00001.MKV", "ann/c/00001.mkv", "bob/x.webm")
    make(folder, "ann/notes.txt", ".trash/z.mp4", "bob/.x.mp4", "bob/y.mp4.part", "top.avi")
    (folder / "ann" / "link.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert names(folder, "folder") == [
        ("ann", "b-00001"),
        ("ann", "c-00001"),
        ("ann", "x"),
        ("bob", "x"),
        ("raw", "top"),
    ]


def test_each_video_may_be_a_person(tmp_path):
    folder = make(tmp_path, "x.mp4", "a/y.mp4")
    assert names(folder, "file") == [("y", "a-y"), ("x", "x")]


def test_names_have_no_letters_that_break_those_of_clips(tmp_path):
    folder = make(tmp_path, "Zoë & co/talk #1, part 2.mp4", "b/.hidden/x.mp4", f"c/{'n' * 200}.mp4")
    assert names(folder, "folder") == [("Zoë___co", "talk__1__part_2"), ("c", "n" * 80)]


def test_names_that_would_be_equal_are_told_apart_whoever_else_is_there(tmp_path):
    folder = make(tmp_path, "ann/x.mp4", "ann/x.mov", "ann/y.mp4", "a b/x.mp4", "a_b/x.mp4")
    found = names(folder, "folder")
    assert len(set(found)) == 5
    assert ("ann", "y") in found
    assert len({person for person, _ in found}) == 3
    assert all(person.startswith(("a_b-", "ann")) for person, _ in found)
    make(folder, "ann/x.mkv")
    assert set(found) < set(names(folder, "folder"))
    assert distinct_names({"k": ".x"}) == {"k": "_x"}


def test_a_table_says_who_is_shown(tmp_path):
    folder = make(tmp_path / "raw", "1/x.mp4", "2/x.mp4", "2/y.mp4", "2/z.mp4")
    table = tmp_path / "who.csv"
    table.write_text(
        'file,person\n1/x.mp4,ann\n"y.mp4","Bob, jr."\n\n2/x.mp4\nx.mp4,eve\ngone.mp4,eve\n'
        '2/y.mp4,eve\n"2/z.mp4,eve\n,eve\n'
    )
    sources, problems = find_by_person(folder, str(table))
    assert [(person, video) for _, person, video in sources] == [
        ("ann", "1-x"),
        ("Bob__jr.", "2-y"),
    ]
    told = details(problems)
    assert told[:-2] == [
        ("malformed row", "Line 5: a row is file,person: found '2/x.mp4'."),
        ("malformed row", "Line 6: there are 2 videos x.mp4: give their paths."),
        ("missing video", "Line 7: there is no video gone.mp4."),
        ("two rows of one video", "Line 8: 2/y.mp4 stands above already."),
        ("malformed row", "Line 9: its quotes do not close (unexpected end of data)."),
        ("malformed row", "Line 10: a row is file,person: found ',eve'."),
    ]
    assert [(problem.name, problem.reason) for problem in problems[-2:]] == [
        ("2/x.mp4", "not in the table"),
        ("2/z.mp4", "not in the table"),
    ]


@pytest.mark.parametrize(
    ("identity", "sentence"),
    [
        ("folder", r"raw holds no videos"),
        ("who.csv", r"raw holds no videos"),
    ],
)
def test_a_folder_without_videos_is_refused(tmp_path, identity, sentence):
    folder = make(tmp_path / "raw", "ann/photo.jpg")
    with pytest.raises(InputError, match=sentence):
        find_by_person(folder, identity)


def test_what_is_no_folder_and_what_is_no_table_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_by_person(tmp_path / "none", "folder")
    folder = make(tmp_path / "raw", "x.mp4")
    with pytest.raises(InputError, match="cannot be read as a CSV file"):
        find_by_person(folder, str(tmp_path / "none.csv"))
    (tmp_path / "who.csv").write_text("a.mp4,ann\n")
    with pytest.raises(InputError, match="names no video of"):
        find_by_person(folder, str(tmp_path / "who.csv"))
