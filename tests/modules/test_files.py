"""Files are there whole or not at all."""

import pytest

from modules.errors import InputError
from modules.files import write_text_whole, written_whole


def test_text_replaces_what_was_there_in_utf_8(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("before")
    write_text_whole(path, "Fréchet ↓")
    assert path.read_bytes().decode("utf-8") == "Fréchet ↓"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.md"]


def test_a_text_that_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "absent" / "a.txt"):
        with pytest.raises(InputError, match=f"{path} cannot be written: "):
            write_text_whole(path, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_failure_leaves_the_folder_as_it_was(tmp_path):
    with written_whole(tmp_path / "part") as folder:
        (folder / "a").write_text("whole")
    assert (tmp_path / "part" / "a").read_text() == "whole"

    def fail() -> None:
        with written_whole(tmp_path / "other") as folder:
            (folder / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert not (tmp_path / "other").exists()
