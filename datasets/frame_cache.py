"""Keep the decoded frames of clips in a folder.

Decoding takes most of the time of loading a pair.  A data set that fits on the disk uncompressed is
decoded once; frames that were read lately come from the page cache of the system.
"""

import logging
import shutil
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap, write_array_header_1_0

from datasets.clips import Clip, iterate_frames
from media.pictures import Picture, resized
from utils.errors import InputError, OutputError
from utils.files import atomic_file, fingerprint, flush, remove_leftovers
from utils.progress import progress_bar
from utils.wording import counted
from utils.worker_pool import DIED, map_in_processes, usable_cores

logger = logging.getLogger(__name__)


class CachedClip:
    """Clip whose frames are decoded in a ``.npy`` file, (T, H, W, 3) uint8."""

    def __init__(self, clip: Clip, file: Path, size: tuple[int, int]) -> None:
        """``size`` is the height and width of the decoded frames."""
        self.clip, self.file, self.shape = clip, file, (clip.num_frames, *size, 3)
        self.path, self.name, self.identity = clip.path, clip.name, clip.identity
        self.num_frames = clip.num_frames

    def read(self) -> np.memmap | None:
        """Map all frames into memory; None where the file is missing or incomplete."""
        try:
            decoded = open_memmap(self.file, "r")
        except (OSError, ValueError):
            return None
        complete = decoded.shape == self.shape and decoded.dtype == np.uint8
        return decoded if complete else None

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """Read the frames with these numbers; decode the clip where its file is gone by now."""
        decoded = self.read()
        if decoded is None:
            return self.clip.frames(numbers)
        return [np.array(decoded[number]) for number in numbers]

    def as_file(self, folder: Path) -> Path:
        return self.clip.path


def cached_clips(
    clips: Sequence[Clip], folder: Path, size: tuple[int, int]
) -> list[Clip | CachedClip]:
    """Decode clips into ``folder``, at a height and width, where that is not done yet.

    An unreadable clip stays as it is.  Raises OutputError where the folder cannot be written, or
    has no room for all frames.
    """
    cached = [
        CachedClip(clip, folder / f"{fingerprint([clip.path])[:16]}-{size[1]}x{size[0]}.npy", size)
        for clip in clips
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of several processes the first decodes
            missing = [clip for clip in cached if clip.read() is None]
            if missing:
                _make_room(folder, sum(prod(clip.shape) for clip in missing))
                logger.info("Decoding %s into %s.", counted(len(missing), "clip"), folder)
            jobs = map_in_processes(_decode, missing, usable_cores(), lambda clip: InputError(DIED))
            for clip, problem in progress_bar(jobs, total=len(missing), unit="clip"):
                if problem is not None:
                    logger.warning("Not decoded: %s (%s)", clip.path, problem)
    except OSError as error:
        raise OutputError(
            f"The folder of decoded frames {folder} cannot be written ({error.strerror}): leave "
            "data.frame_cache out, or set it to another."
        ) from error
    return [clip.clip if clip.read() is None else clip for clip in cached]


def _make_room(folder: Path, needed: int) -> None:
    """Delete unfinished files.  Raises OutputError where ``needed`` bytes do not fit."""
    remove_leftovers(folder)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"The decoded frames take {needed / 1e6:,.1f} MB, and {folder} has room for "
            f"{free / 1e6:,.1f} MB: leave data.frame_cache out, or set it to another folder."
        )


def _decode(job: CachedClip) -> InputError | None:
    """Write the frames of a clip, all or none; return the error of an unreadable clip."""
    _, height, width, _ = job.shape
    header = {"descr": "|u1", "fortran_order": False, "shape": job.shape}
    try:
        with atomic_file(job.file) as temporary:
            # Written, not mapped: a full disk kills a process that writes into a map
            with temporary.open("wb") as output:
                write_array_header_1_0(output, header)
                count = 0
                for frame in iterate_frames(job.clip.path):
                    output.write(resized(frame, (height, width)).tobytes())
                    count += 1
            if count != job.num_frames:
                raise InputError(
                    f"it shows {counted(count, 'frame')} where {job.num_frames} were counted"
                )
            flush(temporary)
    except InputError as error:
        return error
    return None
