"""Command ``celebv``: put the five people of CelebV into the layout that lists of pairs name.

A list names ``NAME/Image/12.jpg``.  Archives spell and nest the folders in other ways, and hold
other pictures beside them, for example of landmarks.
"""

import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from datasets.frame_finder import CELEBV_FOLDER
from datasets.preprocessing.raw_videos import walk
from datasets.preprocessing.run import Outcome, Report, Shard, open_output
from media.pictures import (
    FRAME_SUFFIXES,
    PICTURE_SUFFIXES,
    Picture,
    picture_size,
    read_image,
    resized,
    write_picture_whole,
)
from utils.errors import InputError, OutputError
from utils.files import remove_leftovers, require_apart, write_atomically
from utils.progress import progress_bar
from utils.wording import counted
from utils.worker_pool import DIED, WORKER_DIED, map_in_processes

COMMAND = "celebv"
PEOPLE = ("Donald_Trump", "Emmanuel_Macron", "Jack_Ma", "Kathleen", "Theresa_May")
MISSING, SECOND_FOLDER = "missing person", "second folder of a person"
UNREADABLE, TWICE = "unreadable picture", "two pictures of one name"
NOT_SQUARE = "not square, so its middle was taken"  # reported, and written all the same


class _Job(NamedTuple):
    """Picture of a person."""

    person: str
    picture: Path


def prepare(folder: Path, root: Path, size: int, *, workers: int) -> Report:
    """Write the people found below ``folder`` to ``root/NAME/Image``, as ``size x size`` pictures.

    Pictures that have the size are copied; existing files are kept.  Raises InputError where
    nothing can begin, and OutputError where pictures cannot be written.
    """
    require_apart(root, folder)
    people = find_people(folder)
    if not any(people.values()):
        raise InputError(f"{folder} holds pictures of none of {', '.join(PEOPLE)}: unpack CelebV.")
    outcomes: list[Outcome] = []
    jobs = [
        _Job(person, picture)
        for person in PEOPLE
        for picture in _choose(person, people[person], folder, outcomes)
    ]
    settings: dict[str, JsonValue] = {"size": size}
    with open_output(root, COMMAND, settings, Shard()):
        for person in {job.person for job in jobs}:
            pictures = root / person / CELEBV_FOLDER
            pictures.mkdir(parents=True, exist_ok=True)
            remove_leftovers(pictures)

        def died(job: _Job) -> list[Outcome]:
            return [Outcome(_name(job.picture, folder), job.person, WORKER_DIED, DIED)]

        work = partial(_prepare, root, size, folder)
        results = map_in_processes(work, jobs, workers, died)
        for _, new in progress_bar(results, total=len(jobs), unit="picture"):
            outcomes += new
    return Report.of(COMMAND, settings, Shard(), outcomes)


def find_people(folder: Path) -> dict[str, dict[Path, list[Path]]]:
    """Find the pictures below ``folder``, by person and by their folder.

    Raises InputError where ``folder`` is no folder.
    """
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise InputError(f"The folder {folder} {problem}: give the one with CelebV.")
    people: dict[str, dict[Path, list[Path]]] = {person: {} for person in PEOPLE}
    of_folder: dict[Path, str | None] = {}
    for path in walk(folder):
        if path.suffix.lower() in PICTURE_SUFFIXES:
            parent = path.parent
            if parent not in of_folder:
                of_folder[parent] = _person_of(parent.resolve())
            if person := of_folder[parent]:
                people[person].setdefault(parent, []).append(path)
    return people


def _person_of(folder: Path) -> str | None:
    """Return the person whose name a folder or one above it has, in any spelling."""
    names = {_normalised(person): person for person in PEOPLE}
    parts = map(_normalised, folder.parts[::-1])
    return next((names[part] for part in parts if part in names), None)


def _normalised(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _choose(
    person: str, folders: dict[Path, list[Path]], above: Path, outcomes: list[Outcome]
) -> list[Path]:
    """Choose the pictures of a person: from a folder ``Image``, else from the largest folder.

    Other candidates are added to ``outcomes``; folders beside a folder ``Image`` are none.
    """
    if not folders:
        detail = "no folder of this name holds pictures"
        outcomes.append(Outcome(person, person, MISSING, detail))
        return []
    images = [path for path in folders if _normalised(path.name) in ("image", "images")]
    candidates = sorted(images or folders, key=lambda path: (-len(folders[path]), path))
    for other in candidates[1:]:
        detail = f"{counted(len(folders[other]), 'picture')}, left out for those in {candidates[0]}"
        outcomes.append(Outcome(_name(other, above), person, SECOND_FOLDER, detail))
    pictures: dict[str, Path] = {}
    for path in folders[candidates[0]]:
        if path.stem in pictures:
            detail = f"left out for {pictures[path.stem].name}"
            outcomes.append(Outcome(_name(path, above), person, TWICE, detail))
        else:
            pictures[path.stem] = path
    return list(pictures.values())


def _prepare(root: Path, size: int, folder: Path, job: _Job) -> list[Outcome]:
    """Write a picture to its place, and return its outcomes: two where it is not square."""
    name = _name(job.picture, folder)
    try:
        height, width = picture_size(job.picture)
        _write(job.picture, _place(job.picture, root / job.person / CELEBV_FOLDER), size)
    except OutputError:
        raise
    except InputError as error:
        return [Outcome(name, job.person, UNREADABLE, str(error))]
    outcomes = [Outcome(name, job.person)]
    if height != width:
        outcomes.append(Outcome(name, job.person, NOT_SQUARE, f"{width} x {height} pixels"))
    return outcomes


def _place(picture: Path, folder: Path) -> Path:
    """Return the place of a picture: its number stays, its suffix becomes one of frames."""
    suffix = picture.suffix.lower()
    return folder / f"{picture.stem}{suffix if suffix in FRAME_SUFFIXES else '.png'}"


def _write(source: Path, place: Path, size: int) -> None:
    """Write a picture to its place, atomically.  Raises InputError where it is unreadable."""
    if place.exists():
        return
    image = read_image(source)
    if image.shape[:2] == (size, size) and source.suffix.lower() == place.suffix:
        write_atomically(place, source.read_bytes())
    else:
        write_picture_whole(place, resized(_middle(image), (size, size)))


def _middle(image: Picture) -> Picture:
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _name(path: Path, above: Path) -> str:
    return path.relative_to(above).as_posix()
