"""The videos of a folder, and whom each shows: by its folder, by its own name, or by a table.

Of both the names of clips are made, so letters that cannot stand in a name become ``_``; names that
would be equal by that are told apart by a few digits of a hash.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.preprocessing.metadata import MAX_ID, BadRow, split_cells
from datasets.preprocessing.raw_videos import PIECE, VIDEO_SUFFIXES, walk
from datasets.preprocessing.report import Outcome
from utils.errors import InputError

UNFIT = re.compile(r"[^\w.-]|^\.")  # for the name of a person or of a video
HEADER = ["file", "person"]
MALFORMED, MISSING = "malformed row", "missing video"
TWICE, NOT_LISTED = "two rows of one video", "not in the table"


class Source(NamedTuple):
    """A video and the names that its clips get."""

    path: Path
    person: str
    video: str

    @property
    def name(self) -> str:
        """What the names of its clips begin with."""
        return f"{self.person}#{self.video}"


def find_sources(folder: Path, identity: str) -> tuple[list[Source], list[Outcome]]:
    """The videos below a folder in the order of their paths, and what is wrong with others.

    ``identity`` is "folder" (whatever lies in one folder of ``folder``, at any depth, shows one
    person), "file" (each shows another) or the path of a CSV file of ``file,person``, files told by
    their path in ``folder`` or by their name.  Raises InputError where there are no videos.
    """
    paths = {path.relative_to(folder).as_posix(): path for path in _videos(folder)}
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
    persons = told_apart(
        {own: Path(own).stem if identity == "file" else own for own in people.values()}
    )
    below: dict[str, dict[str, str]] = {}  # of each person: paths, and what they say of the video
    for name, own in people.items():
        parts = Path(name).with_suffix("").parts
        nested = identity == "folder" and len(parts) > 1
        below.setdefault(own, {})[name] = "-".join(parts[1:] if nested else parts)
    videos = {name: video for own in below.values() for name, video in told_apart(own).items()}
    return [
        Source(paths[name], persons[people[name]], videos[name]) for name in sorted(people)
    ], problems


def _videos(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(f"The folder of videos {folder} does not exist: name one that does.")
    for path in walk(folder):
        is_video = path.suffix.lower() in VIDEO_SUFFIXES and not PIECE.fullmatch(path.stem)
        if is_video and path.is_file():  # no link to nowhere
            yield path


def told_apart(wanted: Mapping[str, str]) -> dict[str, str]:
    """Names that may stand in the name of a clip, by keys: as wanted, as far as they can be."""
    fit = {key: _fit(name) for key, name in wanted.items()}
    uses = Counter(fit.values())
    return {
        key: name if uses[name] == 1 else f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        for key, name in fit.items()
    }


def _fit(name: str) -> str:
    return UNFIT.sub("_", name).encode()[:MAX_ID].decode(errors="ignore")


def read_people(table: Path, names: Sequence[str]) -> tuple[dict[str, str], list[Outcome]]:
    """Whom the videos of these paths show, by a CSV file, and what is wrong with its rows.

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
                detail = f"Line {number}: {bad.detail}."
                problems.append(Outcome(f"line {number}", "", bad.reason, detail))
    problems += [Outcome(name, "", NOT_LISTED) for name in names if name not in people]
    return people, problems


def _row(cells: list[str], places: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The path of the video, and the person, of a row.  Raises BadRow."""
    if len(cells) != 2 or not all(cells):
        raise BadRow(MALFORMED, f"a row is file,person: found {','.join(cells)[:80]!r}")
    file, person = cells
    found = places.get(file, [])
    if not found:
        raise BadRow(MISSING, f"there is no video {file}")
    if len(found) > 1:
        raise BadRow(MALFORMED, f"there are {len(found)} videos {file}: give their paths")
    return found[0], person
