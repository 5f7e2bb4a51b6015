"""Tell what kind of file a path is, for the messages about wrong ones."""

import io
import stat
from pathlib import Path
from typing import NamedTuple

import av

from utils.errors import InputError

# Of videos as they are found; an animated GIF is a picture too
VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv", ".f4v",
                  ".3gp", ".3g2", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".m2v",
                  ".vob", ".qt", ".wmv", ".asf", ".ogv", ".mxf")  # fmt: skip
PICTURE = "_pipe"  # ending of FFmpeg's names for formats of one picture
KINDS = {  # of paths that are no ordinary files
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe, which cannot be read twice",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


class InMemoryFile(NamedTuple):
    """Bytes of a file, wherever they come from."""

    name: str  # what messages call it
    data: bytes
    checksum: int  # with name and length it identifies the content

    def __str__(self) -> str:
        return self.name


def require_file(path: Path, wanted: str) -> None:
    """Raise InputError, which names what is there, where a path is not of a file.

    ``wanted`` is what is expected, for example "a picture".
    """
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        raise InputError(f"{path} does not exist: give the path of {wanted}.") from error
    for is_kind, kind in KINDS.items():
        if is_kind(mode):
            raise InputError(f"{path} is {kind}: give the path of {wanted}.")


def kind_of_media(file: Path | InMemoryFile) -> str | None:
    """Tell whether a file is "a video" or "a sound"; None for anything else."""
    try:
        with av.open(f"file:{file}" if isinstance(file, Path) else io.BytesIO(file.data)) as media:
            # FFmpeg takes a damaged picture for a video, and would show the letters of a text
            if media.format.name in ("tty", "image2") or media.format.name.endswith(PICTURE):
                return None
            return "a video" if media.streams.video else "a sound" if media.streams.audio else None
    except (av.FFmpegError, ValueError):
        return None
