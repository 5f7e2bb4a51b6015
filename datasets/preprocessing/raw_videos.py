"""Finds raw videos in a folder by their ids, however they were downloaded.

A video's id is its name without ending; ``Title [ID].mp4``, as yt-dlp names files by default, is
found too.
"""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from utils.errors import InputError
from utils.files import is_hidden

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".mkv", ".webm", ".mov", ".m4v", ".avi", ".flv", ".f4v", ".3gp", ".3g2", ".ts"),
    *(".mts", ".m2ts", ".mpg", ".mpeg", ".m2v", ".vob", ".qt", ".wmv", ".asf", ".ogv", ".mxf"),
)
BRACKETED = re.compile(r".*\[([^\[\]]+)\]")
# yt-dlp's pieces: of a video and its sound before they are joined, and of what it works on
PIECE = re.compile(r".*\.(f[0-9]+(?:-[^.]+)?|temp)")


def find_raw_videos(folder: Path) -> dict[str, Path]:
    """The videos below a folder by their ids, in the order of the ids.

    Of several files of one id the first counts by: some content, no title beside the id, fewer
    folders above it, the order of ``VIDEO_SUFFIXES``, the path.  Unfinished downloads and hidden
    files are none.  Raises InputError where ``folder`` is no folder.
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise InputError(f"The folder of videos {folder} {problem}: give the one with the videos.")
    found: dict[str, tuple[bool, bool, int, int, str]] = {}
    for path in walk(folder):
        ending = path.suffix.lower()
        if ending not in VIDEO_SUFFIXES or PIECE.fullmatch(path.stem) or not path.is_file():
            continue
        is_empty = path.stat().st_size == 0
        for video, has_title in ids_of(path.stem):
            order = VIDEO_SUFFIXES.index(ending)
            candidate = is_empty, has_title, len(path.parts), order, str(path)
            found[video] = min(found.get(video, candidate), candidate)
    return {video: Path(found[video][-1]) for video in sorted(found)}


def ids_of(stem: str) -> Iterator[tuple[str, bool]]:
    """The ids that a file of this name may have, and whether there is a title beside them."""
    yield stem, False
    if match := BRACKETED.fullmatch(stem):
        yield match[1], True


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, links followed; no folder twice, none hidden or a system's."""
    entered: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, onerror=_tell, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()  # a link has led back
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(parent, name) for name in sorted(files) if not is_hidden(name))


def _tell(error: OSError) -> None:
    logger.warning("Folder left out: %s cannot be read: %s.", error.filename, error.strerror)
