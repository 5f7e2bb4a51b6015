"""How ``check --fix`` repairs a root: whatever happens meanwhile, every clip stays whole.

A clip is encoded again under a temporary name that then takes the place of the old one; pictures
of a folder are replaced one by one.  What cannot be used is moved aside, never deleted.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from datasets.clips import clip_name
from datasets.contents import Contents
from datasets.inspection.clip_inspection import Size, rate_fault
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
from utils.files import write_atomically
from utils.progress import progress_bar
from utils.wording import counted
from utils.worker_pool import WorkerDied, map_in_processes

CRF = 12  # finer than for new clips: what is encoded twice should lose once


class Changes(NamedTuple):
    """What was changed in a root."""

    touched: set[Path]  # clips that may be other ones now, or elsewhere
    rejected: dict[str, str]  # clips that were moved aside, and where to
    failed: dict[str, str]  # what could not be repaired, and why


@contextmanager
def sole_writer(root: Path, wanted: bool) -> Iterator[None]:
    """No preparing run writes into ``root`` meanwhile.  Raises InputError where one does."""
    if not wanted or not root.is_dir():
        yield
        return
    with ExitStack() as stack:
        try:
            for lock in sorted({root / ".lock", *root.glob(".lock-*-of-*")}):
                stack.enter_context(FileLock(lock, timeout=0))
        except Timeout as error:
            raise InputError(f"Another run is writing into {root}: wait for it.") from error
        except OSError as error:
            raise OutputError(f"{root} cannot be written: {error.strerror}.") from error
        yield


def repair_all(
    problems: Sequence[Problem], contents: Contents, expected: Expected, workers: int
) -> Changes:
    """Repairs what can be repaired.  Raises OutputError where nothing can be written."""
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
    results = map_in_processes(partial(repair, size=expected.size), sorted(encoded), workers)
    for path, result in progress_bar(results, total=len(encoded), unit="repair"):
        if result is not None:
            reason = result.detail if isinstance(result, WorkerDied) else result
            changes.failed[contents.label(path)] = reason
    return changes


def repair(path: Path, size: Size) -> str | None:
    """Gives a clip the size, rate and key frames that it should have, or says why it cannot.

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


def encode_again(path: Path, size: Size) -> None:
    """Writes a video as an mp4 in its place, with its sound."""
    place = path if path.suffix.lower() == ".mp4" else path.with_suffix(".mp4")
    if place != path and place.exists():
        raise InputError(f"{place} is there already: delete one of the two.")
    video = RawVideo.open(path)
    times: Sequence[int] = video.index.times
    if rate_fault(times, video.tick, video.rate):
        times = [video.time(number) for number in range(video.num_frames)]
    shown = Counter(times)  # how often each frame is
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


def resize_picture(path: Path, size: Size) -> None:
    """Writes a picture again, where it is not of this size."""
    picture = read_image(path)
    if picture.shape[:2] != size[::-1]:
        write_picture_whole(path, resized(picture, size[::-1]))


def correct_record(clip: Path, size: Size) -> None:
    """Writes the size of a clip's frames into its record, where it has one."""
    record = read_record(clip)
    if record is not None and record.size != size:
        text = record.model_copy(update={"size": size}).model_dump_json(indent=1)
        write_atomically(record_path(clip), text + "\n")


def rejected_folder(root: Path) -> Path:
    """Where clips are moved that cannot be used: beside the root."""
    root = root.resolve()
    return root.with_name(f"{root.name}-rejected")


def move_aside(clip: Path, root: Path) -> Path:
    """Moves a clip, and its record before it, out of ``root``, and returns where to."""
    folder = rejected_folder(root) / clip.parent.relative_to(root)
    folder.mkdir(parents=True, exist_ok=True)
    place = free_name(folder / clip.name)
    if (record := record_path(clip)).is_file():
        shutil.move(record, folder / f"{clip_name(place)}.json")
    shutil.move(clip, place)
    return place


def free_name(path: Path) -> Path:
    """The path, or the first of ``NAME-2.mp4``, ``NAME-3.mp4``, ... that is not taken."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    while path.exists():
        path = next(names)
    return path


def remove(path: Path) -> None:
    """Deletes a file or a folder that is not whole."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
