"""Find raw videos in a folder, by their ids or by the people that they show.

The id of a video is its name without ending; ``Title [ID].mp4``, the default of yt-dlp, is found
too.  Names of clips are made from people and videos: characters that cannot stand in a name become
``_``, and names that would then be equal get a few digits of a hash.
"""

import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.preprocessing.metadata import MAX_ID, BadRow, split_cells
from datasets.preprocessing.run import Outcome
from media.file_kinds import VIDEO_SUFFIXES
from utils.errors import InputError
from utils.files import FileId, file_id, is_hidden

logger = logging.getLogger(__name__)

BRACKETED = re.compile(r".*\[([^\[\]]+)\]")
# Parts of yt-dlp: a video and its sound before they are joined, and files that it works on
PIECE = re.compile(r".*\.(f[0-9]+(?:-[^.]+)?|temp)")
UNFIT = re.compile(r"[^\w.-]|^\.")  # for the name of a person or of a video
HEADER = ["file", "person"]
MALFORMED, MISSING = "malformed row", "missing video"
TWICE, NOT_LISTED = "two rows of one video", "not in the table"


class Source(NamedTuple):
    """Video, and the names for its clips."""

    path: Path
    person: str
    video: str

    @property
    def name(self) -> str:
        """Beginning of the names of its clips."""
        return f"{self.person}#{self.video}"


def find_by_id(folder: Path) -> dict[str, Path]:
    """Find the videos below a folder by their ids, in the order of the ids.

    Of several files of one id these come first: not empty, no title beside the id, fewer folders
    above it, the order of ``VIDEO_SUFFIXES``, the path.  Raises InputError where ``folder`` is no
    folder.
    """
    found: dict[str, tuple[bool, bool, int, int, str]] = {}
    for path in raw_videos(folder):
        order = VIDEO_SUFFIXES.index(path.suffix.lower())
        for video, has_title in ids_of(path.stem):
            candidate = path.stat().st_size == 0, has_title, len(path.parts), order, str(path)
            found[video] = min(found.get(video, candidate), candidate)
    return {video: Path(found[video][-1]) for video in sorted(found)}


def ids_of(stem: str) -> Iterator[tuple[str, bool]]:
    """Yield the ids that a file of this name may have, and whether a title stands beside them."""
    yield stem, False
    if match := BRACKETED.fullmatch(stem):
        yield match[1], True


def raw_videos(folder: Path) -> Iterator[Path]:
    """Yield the videos below a folder, without unfinished downloads, hidden files or dead links.

    Raises InputError where ``folder`` is no folder.
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise InputError(f"The folder of videos {folder} {problem}: give the one with the videos.")
    for path in walk(folder):
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and not PIECE.fullmatch(path.stem)
        if is_video and path.is_file():
            yield path


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, through links; no folder twice, and nothing hidden."""
    entered: set[FileId | None] = set()
    for parent, folders, files in os.walk(folder, onerror=_warn, followlinks=True):
        if file_id(parent) in entered:
            folders.clear()  # a link has led back
            continue
        entered.add(file_id(parent))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(parent, name) for name in sorted(files) if not is_hidden(name))


def _warn(error: OSError) -> None:
    logger.warning("Folder left out: %s cannot be read: %s.", error.filename, error.strerror)


def find_by_person(folder: Path, identity: str) -> tuple[list[Source], list[Outcome]]:
    """Find the videos below a folder with the people they show, and problems with others.

    ``identity`` is "folder" (all videos in one folder of ``folder``, at any depth, show one
    person), "file" (each shows another) or the path of a CSV file of ``file,person``, in which
    files have their path in ``folder`` or their name.  Raises InputError where there is no video.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in raw_videos(folder)}
    if not paths:
        raise InputError(f"{folder} holds no videos: give a folder with videos in it.")
    problems: list[Outcome] = []
    if identity == "folder":
        top = folder.resolve().name
        people = {name: name.split("/")[0] if "/" in name else top for name in paths}
    elif identity == "file":
        people = {name: name for name in paths}
    else:
        people, problems = read_people(Path(identity), list(paths))
        if not people:
            raise InputError(f"{identity} names no video of {folder}: give a table of file,person.")
    persons = distinct_names(
        {own: Path(own).stem if identity == "file" else own for own in people.values()}
    )
    wanted: dict[str, dict[str, str]] = {}  # of each person: names of videos by their paths
    for name, own in people.items():
        parts = Path(name).with_suffix("").parts
        nested = identity == "folder" and len(parts) > 1
        wanted.setdefault(own, {})[name] = "-".join(parts[1:] if nested else parts)
    videos = {name: video for own in wanted.values() for name, video in distinct_names(own).items()}
    sources = [Source(paths[name], persons[people[name]], videos[name]) for name in sorted(people)]
    return sources, problems


def distinct_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Make names that may stand in the name of a clip, as close to the wanted ones as possible."""
    fit = {
        key: UNFIT.sub("_", name).encode()[:MAX_ID].decode(errors="ignore")
        for key, name in wanted.items()
    }
    uses = Counter(fit.values())
    return {
        key: name if uses[name] == 1 else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        for key, name in fit.items()
    }


def read_people(table: Path, names: Sequence[str]) -> tuple[dict[str, str], list[Outcome]]:
    """Read from a CSV file whom the videos of these paths show, and the problems of its rows.

    A first row "file,person" is a header.  Raises InputError where the file cannot be read.
    """
    try:
        lines = table.read_bytes().decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{table} cannot be read as a CSV file of file,person: {error}."
        ) from error
    places: dict[str, list[str]] = {}
    for name in names:
        for place in {name, name.rpartition("/")[2]}:
            places.setdefault(place, []).append(name)
    people: dict[str, str] = {}
    problems: list[Outcome] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                cells = split_cells(line)
                if (number, cells) != (1, HEADER):
                    name, person = _row(cells, places)
                    if name in people:
                        raise BadRow(TWICE, f"{name} stands above already")
                    people[name] = person
            except BadRow as bad:
                problems.append(bad.outcome(number))
    problems += [Outcome(name, "", NOT_LISTED) for name in names if name not in people]
    return people, problems


def _row(cells: list[str], places: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """Read the path of the video and the person of a row.  Raises BadRow."""
    if len(cells) != 2 or not all(cells):
        raise BadRow(MALFORMED, f"a row is file,person: found {','.join(cells)[:80]!r}")
    file, person = cells
    found = places.get(file, [])
    if not found:
        raise BadRow(MISSING, f"there is no video {file}")
    if len(found) > 1:
        raise BadRow(MALFORMED, f"there are {len(found)} videos {file}: give their paths")
    return found[0], person
