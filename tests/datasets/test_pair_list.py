from pathlib import Path

import pytest

from datasets.pair_list import PairPaths, read_pair_list
from modules.errors import InputError


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_header_of_three_names_may_stand_over_rows_of_two(tmp_path):
    path = write(tmp_path, "source,driving,best_frame\na.png,b.mp4\na.png,c.mp4,7\n")
    assert read_pair_list(path) == {
        "a--b": PairPaths(Path("a.png"), Path("b.mp4"), ""),
        "a--c": PairPaths(Path("a.png"), Path("c.mp4"), "7"),
    }


def test_repeated_rows_are_one_pair(tmp_path):
    assert len(read_pair_list(write(tmp_path, "source,driving\n" + "a.png,b.mp4\n" * 3))) == 1


def test_different_pairs_never_share_a_name(tmp_path):
    rows = "x/0.png,x/1.png\ny/0.png,y/1.png\nx/0.png,y/1.png\n"
    pairs = read_pair_list(write(tmp_path, "source,driving\n" + rows))
    assert list(pairs) == ["0--1", "0--1-2", "0--1-3"]


def test_paths_beside_the_list_come_before_those_of_the_working_directory(tmp_path):
    (tmp_path / "a.png").touch()
    (pair,) = read_pair_list(write(tmp_path, "source,driving\na.png,b.mp4\n")).values()
    assert pair[:2] == (tmp_path / "a.png", Path("b.mp4"))


def test_a_byte_order_mark_and_spaces_are_no_part_of_the_names(tmp_path):
    (pair,) = read_pair_list(write(tmp_path, "\ufeffsource,driving\na.png, b.mp4\n")).values()
    assert pair[:2] == (Path("a.png"), Path("b.mp4"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must start with"),
        ("a.png,b.mp4\n", r"found 'a\.png,b\.mp4'"),
        ("source,driving\n", "no pairs"),
        (None, "cannot be read"),
    ],
)
def test_a_list_without_pairs_is_refused(tmp_path, text, says):
    path = tmp_path / "absent.csv" if text is None else write(tmp_path, text)
    with pytest.raises(InputError, match=says):
        read_pair_list(path)
