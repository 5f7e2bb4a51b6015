"""Files are there whole or not at all."""

import os
from pathlib import Path

import pytest

from modules.errors import InputError
from modules.files import printable, state_of, write_text_whole, written_whole


def test_text_replaces_what_was_there_in_utf_8(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("before")
    write_text_whole(path, "Fréchet ↓ \udcff")  # the last from a path that is no UTF-8
    assert path.read_bytes().decode("utf-8") == "Fréchet ↓ \\udcff"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.md"]


def test_a_text_that_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "absent" / "a.txt"):
        with pytest.raises(InputError, match=f"{path} cannot be written: "):
            write_text_whole(path, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(InputError, match="does not name a file"):
        write_text_whole(Path(), "text")


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


def test_the_state_of_files_changes_with_any_of_them(tmp_path):
    video, frames = tmp_path / "a.mp4", tmp_path / "b"
    frames.mkdir()
    video.write_text("video")
    (frames / "0.png").write_text("frame")
    (frames / "gone.png").symlink_to(tmp_path / "absent")
    states = [state_of([video, frames])]
    assert state_of([video, frames]) == states[0]
    (frames / "0.png").write_text("longer")
    states.append(state_of([video, frames]))
    os.utime(video, ns=(0, 0))
    states.append(state_of([video, frames]))
    (frames / "1.png").write_text("frame")
    states.append(state_of([video, frames]))
    states.append(state_of([frames]))
    assert len(set(states)) == 5


@pytest.mark.parametrize(
    ("name", "shown"),
    [("é ñ", "é ñ"), ("a\udcffb", r"a\udcffb"), ("a\nb\x1b[1m\u2028", r"a\nb\x1b[1m\u2028")],
)
def test_names_are_shown_on_one_line(name, shown):
    assert printable(name) == shown
