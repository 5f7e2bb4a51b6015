from collections.abc import Sequence
from pathlib import Path

import pytest

from datasets.preprocessing.sources import find_sources, told_apart
from utils.errors import InputError


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def names(folder: Path, identity: str) -> list[tuple[str, str]]:
    return [(person, video) for _, person, video in find_sources(folder, identity)[0]]


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
    assert told_apart({"k": ".x"}) == {"k": "_x"}


def test_a_table_says_who_is_shown(tmp_path):
    folder = make(tmp_path / "raw", "1/x.mp4", "2/x.mp4", "2/y.mp4", "2/z.mp4")
    table = tmp_path / "who.csv"
    table.write_text(
        'file,person\n1/x.mp4,ann\n"y.mp4","Bob, jr."\n\n2/x.mp4\nx.mp4,eve\ngone.mp4,eve\n'
        '2/y.mp4,eve\n"2/z.mp4,eve\n,eve\n'
    )
    sources, problems = find_sources(folder, str(table))
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
        find_sources(folder, identity)


def test_what_is_no_folder_and_what_is_no_table_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_sources(tmp_path / "none", "folder")
    folder = make(tmp_path / "raw", "x.mp4")
    with pytest.raises(InputError, match="cannot be read as a CSV file"):
        find_sources(folder, str(tmp_path / "none.csv"))
    (tmp_path / "who.csv").write_text("a.mp4,ann\n")
    with pytest.raises(InputError, match="names no video of"):
        find_sources(folder, str(tmp_path / "who.csv"))
