"""Repair a root for ``check --fix``, with every clip complete at any moment.

A clip is encoded again under a temporary name, which then replaces the old one; pictures of a
folder are replaced one by one.  Unusable clips are moved out of the root, never deleted.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from datasets.clips import clip_name
from datasets.contents import Contents
from datasets.inspection.clip_inspection import WidthHeight, rate_fault
from datasets.inspection.problems import (
    ENCODED,
    KEY_FRAME_EVERY,
    ORPHAN,
    RECORD_SIZE,
    REJECTED,
    TEMPORARY,
    Expected,
    Problem,
)
from datasets.preprocessing.cutting import RATE, RawVideo
from datasets.records import read_record, record_path
from media.decoder import open_video
from media.pictures import FRAME_SUFFIXES, frame_paths, read_image, resized, write_picture_whole
from media.video import probe
from media.writers import VideoWriter
from utils.errors import InputError, OutputError
from utils.locks import sole_writer
from utils.progress import progress_bar
from utils.wording import counted
from utils.worker_pool import DIED, map_in_processes

CRF = 12  # finer than for new clips, since each encoding loses quality


class Changes(NamedTuple):
    """Changes of a root."""

    touched: set[Path]  # clips that may have changed or moved
    rejected: dict[str, str]  # clips that were moved out of the root, with their new places
    failed: dict[str, str]  # names that could not be repaired, with reasons


def only_repairer(root: Path) -> AbstractContextManager[None]:
    """Let no preparing run write into ``root`` meanwhile.  Raises InputError where one does."""
    locks = sorted({root / ".lock", *root.glob(".lock-*-of-*")})
    return sole_writer(*locks, busy=f"Another run is writing into {root}: wait for it.")


def repair_all(
    problems: Sequence[Problem], contents: Contents, expected: Expected, workers: int
) -> Changes:
    """Repair problems where possible.  Raises OutputError where nothing can be written."""
    changes = Changes(set(), {}, {})
    encoded: set[Path] = set()
    try:
        for problem in problems:
            if problem.kind in (TEMPORARY, ORPHAN):
                remove(problem.path)
                changes.touched.add(problem.path.parent)  # perhaps a folder of frames
            elif problem.kind in REJECTED:
                place = move_aside(problem.path, contents.root)
                changes.rejected[problem.name] = str(place)
                changes.touched.add(problem.path)
            elif problem.kind in ENCODED or problem.kind == RECORD_SIZE:
                encoded.add(problem.path)
    except OSError as error:
        raise OutputError(f"{error.filename} cannot be changed: {error.strerror}.") from error
    changes.touched.update(encoded)
    work = partial(repair, size=expected.size)
    results = map_in_processes(work, sorted(encoded), workers, lambda path: DIED)
    for path, reason in progress_bar(results, total=len(encoded), unit="repair"):
        if reason is not None:
            changes.failed[contents.label(path)] = reason
    return changes


def repair(path: Path, size: WidthHeight) -> str | None:
    """Give a clip the required size, rate and key frames, or return the reason of a failure.

    Raises OutputError.
    """
    try:
        if path.is_dir():
            for picture in frame_paths(path):
                resize_picture(picture, size)
        elif path.suffix.lower() in FRAME_SUFFIXES:
            height, width, _ = read_image(path).shape
            resize_picture(path, (size[0] * (width // height), size[1]))
        else:
            encode_again(path, size)
        correct_record(path, size)
    except OutputError:
        raise
    except InputError as error:
        return str(error)
    return None


def encode_again(path: Path, size: WidthHeight) -> None:
    """Encode a video as an mp4 in its place, with its sound."""
    place = path if path.suffix.lower() == ".mp4" else path.with_suffix(".mp4")
    if place != path and place.exists():
        raise InputError(f"{place} is there already: delete one of the two.")
    video = RawVideo.open(path)
    times: Sequence[int] = video.index.times
    if rate_fault(times, video.tick, video.rate):
        times = [video.time(number) for number in range(video.num_frames)]
    shown = Counter(times)  # how often each frame appears
    writer = VideoWriter(
        place,
        Fraction(RATE),
        audio_from=path if probe(path).has_audio else None,
        crf=CRF,
        key_frame_every=KEY_FRAME_EVERY,
        threads=1,  # every core has a process
    )
    with writer, open_video(path) as opened:
        for time, frame in opened.decode():
            if shown[time]:
                picture = resized(video.display.picture(frame), size[::-1])
                for _ in range(shown[time]):
                    writer.write(picture)
        if (missing := len(times) - writer.num_frames) > 0:
            raise InputError(f"{path} is damaged: {counted(missing, 'frame')} missing.")
    if place != path:
        path.unlink()


def resize_picture(path: Path, size: WidthHeight) -> None:
    """Resize a picture file to this size, where it has another one."""
    picture = read_image(path)
    if picture.shape[:2] != size[::-1]:
        write_picture_whole(path, resized(picture, size[::-1]))


def correct_record(clip: Path, size: WidthHeight) -> None:
    """Write the size of a clip's frames into its record, where it has one."""
    record = read_record(clip)
    if record is not None and record.size != size:
        record.model_copy(update={"size": size}).write_json(record_path(clip))


def rejected_folder(root: Path) -> Path:
    """Return the folder for unusable clips, beside the root."""
    root = root.resolve()
    return root.with_name(f"{root.name}-rejected")


def move_aside(clip: Path, root: Path) -> Path:
    """Move a clip, after its record, out of ``root``, and return its new place."""
    folder = rejected_folder(root) / clip.parent.relative_to(root)
    folder.mkdir(parents=True, exist_ok=True)
    place = free_name(folder / clip.name)
    if (record := record_path(clip)).is_file():
        shutil.move(record, folder / f"{clip_name(place)}.json")
    shutil.move(clip, place)
    return place


def free_name(path: Path) -> Path:
    """Return the path, or the first of ``NAME-2.mp4``, ``NAME-3.mp4``, ... that does not exist."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while path.exists():
        path = next(names)
    return path


def remove(path: Path) -> None:
    """Delete an unfinished file or folder.  Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
