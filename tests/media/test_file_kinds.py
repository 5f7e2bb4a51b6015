"""Paths that are no readable files are called what they are."""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from media.pictures import read_image
from media.video import read_frames
from tests.datasets.conftest import write_clip
from utils.errors import InputError

READERS = {"picture": read_image, "video": lambda path: list(read_frames(path))}


@pytest.fixture(params=READERS)
def wanted(request) -> str:
    return request.param


def complaint(path: Path, wanted: str) -> str:
    with pytest.raises(InputError) as caught:
        READERS[wanted](path)
    return str(caught.value)


def test_what_does_not_exist_is_said_not_to(tmp_path, wanted):
    for path in (tmp_path / "absent.mp4", Path("/dev/null/a.mp4")):
        assert complaint(path, wanted) == f"{path} does not exist: give the path of a {wanted}."


def test_a_pipe_is_not_waited_for(tmp_path, wanted):
    os.mkfifo(tmp_path / "pipe")
    found = complaint(tmp_path / "pipe", wanted)
    assert found.endswith(
        f"pipe is a pipe, which cannot be read twice: give the path of a {wanted}."
    )


def test_a_device_or_a_socket_is_named(tmp_path, wanted):
    assert "/dev/zero is a device: " in complaint(Path("/dev/zero"), wanted)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "socket"))
        assert "socket is a socket: " in complaint(tmp_path / "socket", wanted)


def test_a_folder_is_no_picture(tmp_path):
    assert complaint(tmp_path, "picture") == (
        f"{tmp_path} is a folder: give the path of a picture."
    )


def test_a_video_is_no_picture(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", num_frames=2)
    shutil.copy(clip, tmp_path / "clip.png")
    for path in (clip, tmp_path / "clip.png"):
        assert complaint(path, "picture") == f"{path} is a video, not a picture: give a picture."
    (tmp_path / "text").write_text("a text")
    assert "is not a readable picture" in complaint(tmp_path / "text", "picture")


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that everybody may read: those of pytest are for its user alone."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("hidden", ["file", "folder"])
def test_what_may_not_be_read_is_not_called_damaged(readable, wanted, hidden):
    folder = readable / "folder"
    path = write_clip(folder / "clip.mp4", num_frames=2)
    (path if hidden == "file" else folder).chmod(0)
    try:
        if os.geteuid() == 0:  # who may read everything
            os.seteuid(65534)
        assert complaint(path, wanted) == f"{path} cannot be read: Permission denied."
        if hidden == "folder" and wanted == "video":  # of frames
            assert complaint(folder, wanted) == f"{folder} cannot be read: Permission denied."
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o755)
