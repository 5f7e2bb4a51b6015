"""The command ``celebv``: the five people of CelebV in the layout that lists of pairs name.

A list means ``NAME/Image/12.jpg``.  Archives spell and nest the folders in other ways, and have
other pictures (of landmarks, say) beside them.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pydantic import JsonValue

from datasets.frame_finder import CELEBV_FOLDER
from datasets.preprocessing.cutting import Output
from datasets.preprocessing.raw_videos import walk
from datasets.preprocessing.report import Outcome, Report, Shard
from datasets.preprocessing.run import begun
from media.pictures import (
    FRAME_SUFFIXES,
    PICTURE_SUFFIXES,
    Picture,
    picture_size,
    read_image,
    resized,
)
from utils.errors import InputError, OutputError
from utils.files import require_apart
from utils.progress import progress_bar
from utils.wording import counted
from utils.worker_pool import WORKER_DIED, WorkerDied, map_in_processes

logger = logging.getLogger(__name__)

COMMAND = "celebv"
PEOPLE = ("Donald_Trump", "Emmanuel_Macron", "Jack_Ma", "Kathleen", "Theresa_May")
MISSING, SECOND_FOLDER = "missing person", "second folder of a person"
UNREADABLE, TWICE = "unreadable picture", "two pictures of one name"
NOT_SQUARE = "not square, so its middle was taken"  # counted, and written all the same
BATCH = 32  # pictures that a process is given at a time


class _Job(NamedTuple):
    """Pictures of one person."""

    person: str
    pictures: list[Path]


def prepare(folder: Path, root: Path, size: int, *, workers: int) -> Report:
    """Writes the people found below ``folder`` to ``root/NAME/Image``, ``size x size`` pixels.

    Pictures that have the size already are copied as they are; what is there already is kept.
    Raises InputError where nothing can begin, and OutputError where pictures cannot be written.
    """
    require_apart(root, folder)
    people = find_people(folder)
    if not any(people.values()):
        raise InputError(f"{folder} holds pictures of none of {', '.join(PEOPLE)}: unpack CelebV.")
    outcomes: list[Outcome] = []
    chosen = [_choose(person, people[person], folder, outcomes) for person in PEOPLE]
    batches = [
        _Job(job.person, job.pictures[start : start + BATCH])
        for job in chosen
        for start in range(0, len(job.pictures), BATCH)
    ]
    settings: dict[str, JsonValue] = {"size": size}
    with begun(root, COMMAND, settings, Shard()) as output:
        for job in batches:
            (root / job.person / CELEBV_FOLDER).mkdir(parents=True, exist_ok=True)
        write = partial(_write_all, output, size, folder)
        total = sum(len(job.pictures) for job in batches)
        with progress_bar(total=total, unit="picture") as bar:
            for job, told in _run(write, batches, workers, folder):
                outcomes += told
                bar.update(len(job.pictures))
    return Report.of(COMMAND, settings, Shard(), outcomes)


def find_people(folder: Path) -> dict[str, dict[Path, list[Path]]]:
    """The pictures below ``folder`` by person and by their folder.

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
    """The person whose name a folder or one above it has, in any spelling."""
    names = {_plain(person): person for person in PEOPLE}
    return next((names[_plain(part)] for part in folder.parts[::-1] if _plain(part) in names), None)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _choose(
    person: str, folders: dict[Path, list[Path]], above: Path, outcomes: list[Outcome]
) -> _Job:
    """The pictures that count: of a folder ``Image`` before others, of that with the most.

    What else there could be is added to ``outcomes``; that beside a folder ``Image`` could not.
    """
    if not folders:
        detail = "no folder of this name holds pictures"
        outcomes.append(Outcome(person, person, MISSING, detail))
        return _Job(person, [])
    images = [path for path in folders if _plain(path.name) in ("image", "images")]
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
    return _Job(person, list(pictures.values()))


def _run(
    write: Callable[[_Job], list[Outcome]], batches: Sequence[_Job], workers: int, folder: Path
) -> Iterator[tuple[_Job, list[Outcome]]]:
    """The jobs with their outcomes; that of a worker that died is done again picture by picture."""
    again: list[_Job] = []
    for job, told in map_in_processes(write, batches, workers):
        if isinstance(told, WorkerDied):
            again += [_Job(job.person, [picture]) for picture in job.pictures]
        else:
            yield job, told
    for job, told in map_in_processes(write, again, min(workers, len(again))):
        if isinstance(told, WorkerDied):
            (picture,) = job.pictures
            yield job, [Outcome(_name(picture, folder), job.person, WORKER_DIED, told.detail)]
        else:
            yield job, told


def _write_all(output: Output, size: int, folder: Path, job: _Job) -> list[Outcome]:
    """Writes pictures; what became of each, and which are not square."""
    outcomes = []
    for picture in job.pictures:
        name = _name(picture, folder)
        try:
            height, width = picture_size(picture)
            _write(picture, _place(picture, job.person, output), output, size)
        except OutputError:
            raise
        except InputError as error:
            outcomes.append(Outcome(name, job.person, UNREADABLE, str(error)))
            continue
        outcomes.append(Outcome(name, job.person))
        if height != width:
            outcomes.append(Outcome(name, job.person, NOT_SQUARE, f"{width} x {height} pixels"))
    return outcomes


def _place(picture: Path, person: str, output: Output) -> Path:
    """Where a picture goes: its number keeps its form, its ending becomes one of frames."""
    ending = picture.suffix.lower()
    ending = ending if ending in FRAME_SUFFIXES else ".png"
    return output.root / person / CELEBV_FOLDER / f"{picture.stem}{ending}"


def _write(source: Path, place: Path, output: Output, size: int) -> None:
    """Puts a picture at its place, whole.  Raises InputError where it is unreadable."""
    if place.exists():
        return
    image = read_image(source)
    is_ready = image.shape[:2] == (size, size) and source.suffix.lower() == place.suffix
    content = source.read_bytes() if is_ready else None
    grown = output.work / f"{place.parent.parent.name}-{place.name}"
    try:
        if content is not None:
            grown.write_bytes(content)
        else:
            square = resized(_middle(image), (size, size))
            Image.fromarray(square).save(grown, quality=95, subsampling=0)
        os.replace(grown, place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror}.") from error


def _middle(image: Picture) -> Picture:
    """The largest square in the middle."""
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


def _name(path: Path, above: Path) -> str:
    return path.relative_to(above).as_posix()
