"""Files are written completely or not at all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from utils.errors import InputError, OutputError
from utils.files import (
    atomic_folder,
    fingerprint,
    printable,
    remove_leftovers,
    require_apart,
    require_writable,
    write_atomically,
)


def test_text_replaces_what_was_there_in_utf_8(tmp_path):
    path = tmp_path / "table.md"
    path.write_text("before")
    write_atomically(path, "Fréchet ↓ \udcff")  # the last from a path that is no UTF-8
    assert path.read_bytes().decode("utf-8") == "Fréchet ↓ \\udcff"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.md"]


def test_a_text_that_cannot_be_written_is_a_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "absent" / "a.txt"):
        with pytest.raises(InputError, match=f"{path} cannot be written: "):
            write_atomically(path, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(InputError, match="does not name a file"):
        write_atomically(Path(), "text")


def test_a_failure_leaves_the_folder_as_it_was(tmp_path):
    with atomic_folder(tmp_path / "part") as folder:
        (folder / "a").write_text("whole")
    assert (tmp_path / "part" / "a").read_text() == "whole"

    def fail() -> None:
        with atomic_folder(tmp_path / "other") as folder:
            (folder / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere/text")
    for text in ("new", "newer"):
        write_atomically(tmp_path / "link", text)
        assert (tmp_path / "elsewhere" / "text").read_text() == text
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["text"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder").symlink_to("empty")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("whole")
    assert (tmp_path / "empty" / "a").read_text() == "whole"
    assert (tmp_path / "folder").is_symlink()


def test_whether_a_file_can_be_written_is_known_before(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "absent" / "text")
    for path in (tmp_path, tmp_path / "absent" / "text", tmp_path / "link"):
        with pytest.raises(OutputError, match=f"{path} cannot be written: "):
            require_writable(path)
    require_writable(tmp_path / "text")
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_only_what_processes_left_that_are_gone_is_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    kept = {f".a.mp4.{os.getppid()}", ".a.mp4.new", "a.mp4", f".b.{gone.pid}", f".a.{gone.pid}.x"}
    for name in {*kept, f".a.mp4.{gone.pid}"}:
        (tmp_path / name).write_text("half")
    (tmp_path / f".a.mp4.{os.getpid()}").mkdir()  # of a process that had this one's number
    (tmp_path / f".a.mp4.{os.getpid()}" / "0000000.png").write_text("whole")
    remove_leftovers(tmp_path, "a.mp4")
    assert {path.name for path in tmp_path.iterdir()} == kept
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept - {f".b.{gone.pid}"}


def test_the_state_of_files_changes_with_any_of_them(tmp_path):
    video, frames = tmp_path / "a.mp4", tmp_path / "b"
    frames.mkdir()
    video.write_text("video")
    (frames / "0.png").write_text("frame")
    (frames / "gone.png").symlink_to(tmp_path / "absent")
    states = [fingerprint([video, frames])]
    assert fingerprint([video, frames]) == states[0]
    (frames / "0.png").write_text("longer")
    states.append(fingerprint([video, frames]))
    os.utime(video, ns=(0, 0))
    states.append(fingerprint([video, frames]))
    (frames / "1.png").write_text("frame")
    states.append(fingerprint([video, frames]))
    states.append(fingerprint([frames]))
    assert len(set(states)) == 5


@pytest.mark.parametrize(
    ("name", "shown"),
    [("é ñ", "é ñ"), ("a\udcffb", r"a\udcffb"), ("a\nb\x1b[1m\u2028", r"a\nb\x1b[1m\u2028")],
)
def test_names_are_shown_on_one_line(name, shown):
    assert printable(name) == shown


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """Files, folders, and links to them, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for folder in ("frames/deep", "linked", "out", "elsewhere"):
        Path(folder).mkdir(parents=True)
    for file in ("own.mp4", "frames/0.png", "out/0.png", "elsewhere/1.png"):
        Path(file).write_text(file)
    Path("link.mp4").symlink_to("own.mp4")
    Path("link").symlink_to("frames", target_is_directory=True)
    Path("new.mp4").symlink_to("frames/new.mp4")  # which is not there
    os.link("own.mp4", "twin.mp4")
    Path("linked/0.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    Path("out/link.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    return tmp_path


@pytest.mark.parametrize(
    ("output", "read", "relation"),
    [
        ("own.mp4", "own.mp4", "is the same as"),
        ("./frames/../own.mp4", "own.mp4", "is the same as"),
        ("link.mp4", "own.mp4", "is the same as"),
        ("own.mp4", "link.mp4", "is the same as"),
        ("twin.mp4", "own.mp4", "is the same as"),
        ("frames/", "link", "is the same as"),
        ("link/", "frames", "is the same as"),
        ("frames/out.mp4", "frames", "lies in"),
        ("frames/deep/new/", "frames", "lies in"),
        ("link/out.mp4", "frames", "lies in"),
        ("frames/out.mp4", "link", "lies in"),
        ("new.mp4", "frames", "lies in"),
        ("elsewhere/1.png/", "linked", "is the same as"),
        ("out/", "out/0.png", "holds"),
        ("out/", "out/link.png", "holds"),
        ("elsewhere/", "out/link.png", "holds"),
        ("elsewhere/", "linked", "holds"),
        ("link", "frames/0.png", "holds"),
        (".", "frames/0.png", "holds"),
        ("frames", "frames/deep", "holds"),
        ("out/", "out/absent.npz", "holds"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_an_output_that_meets_an_input_is_refused(places, output, read, relation, absolute):
    written = f"{places}/{output}" if absolute else output
    with pytest.raises(InputError, match=rf"^{re.escape(written)} {relation} .*: name an output"):
        require_apart(written, "absent.mp4", None, read)


@pytest.mark.parametrize("output", ["new.npz", "own.npz", "own.mp4.mp4", "out/", "out/new/"])
def test_an_output_apart_from_all_inputs_may_be_written(places, output):
    require_apart(output, "own.mp4", Path("frames"), None, "absent.mp4", "linked")
