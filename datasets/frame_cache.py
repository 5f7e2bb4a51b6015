"""Clips whose frames lie decoded in a folder.

Decoding takes most of the time of loading a pair.  A set that fits the disk uncompressed is decoded
once, and what was read lately comes from the memory that the system keeps of files.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap, write_array_header_1_0

from datasets.clips import Clip, stream_clip
from media.pictures import Picture, resized
from utils.errors import InputError, OutputError
from utils.files import fingerprint, flush
from utils.progress import progress_bar
from utils.wording import counted
from utils.worker_pool import WorkerDied, map_in_processes, usable_cores

logger = logging.getLogger(__name__)


class CachedClip:
    """A clip, with its frames in a ``.npy`` file (T, H, W, 3) of 8 bits."""

    def __init__(self, clip: Clip, file: Path, size: tuple[int, int]) -> None:
        self.clip, self.file, self.shape = clip, file, (clip.num_frames, *size, 3)
        self.path, self.name, self.identity = clip.path, clip.name, clip.identity
        self.num_frames = clip.num_frames

    def read(self) -> np.memmap | None:
        """All frames, where they are opened; None where the file is none, or not whole."""
        try:
            decoded = open_memmap(self.file, "r")
        except (OSError, ValueError):
            return None
        whole = decoded.shape == self.shape and decoded.dtype == np.uint8
        return decoded if whole else None

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """The frames with these numbers: of the clip itself, should the file be gone by now."""
        decoded = self.read()
        if decoded is None:
            return self.clip.frames(numbers)
        return [np.array(decoded[number]) for number in numbers]

    def as_file(self, folder: Path) -> Path:
        """The file that was decoded."""
        return self.clip.path


def cached_clips(
    clips: Sequence[Clip], folder: Path, size: tuple[int, int]
) -> list[Clip | CachedClip]:
    """The clips with their frames decoded into ``folder``, at a height and width.

    What lies there of an earlier time is taken, where the clip has not changed.  A clip that turns
    out to be unreadable stays as it is.  Raises OutputError where the folder cannot be written, or
    has no room for all of them.
    """
    decoded = [
        CachedClip(clip, folder / f"{fingerprint([clip.path])[:16]}-{size[1]}x{size[0]}.npy", size)
        for clip in clips
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of several processes the first decodes
            missing = [one for one in decoded if one.read() is None]
            if missing:
                _make_room(folder, sum(prod(one.shape) for one in missing))
                logger.info("Decoding %s into %s.", counted(len(missing), "clip"), folder)
            jobs = map_in_processes(_decode, missing, usable_cores())
            for one, problem in progress_bar(jobs, total=len(missing), unit="clip"):
                if problem is not None:
                    died = isinstance(problem, WorkerDied)
                    reason = "the process that decoded it died" if died else problem
                    logger.warning("Not decoded: %s (%s)", one.clip.path, reason)
    except OSError as error:
        raise OutputError(
            f"The folder of decoded frames {folder} cannot be written ({error.strerror}): leave "
            "data.frame_cache out, or set it to another."
        ) from error
    return [one.clip if one.read() is None else one for one in decoded]


def _make_room(folder: Path, needed: int) -> None:
    """Removes what killed processes left.  Raises OutputError where ``needed`` bytes do not fit."""
    for unfinished in folder.glob(".*.npy.new"):
        unfinished.unlink()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OutputError(
            f"The decoded frames take {needed / 1e6:,.1f} MB, and {folder} has room for "
            f"{free / 1e6:,.1f} MB: leave data.frame_cache out, or set it to another folder."
        )


def _decode(job: CachedClip) -> InputError | None:
    """Writes the frames of a clip, all or none; what is wrong with the clip, if anything is."""
    clip, file, (_, height, width, _) = job.clip, job.file, job.shape
    temporary = file.with_name(f".{file.name}.new")
    header = {"descr": "|u1", "fortran_order": False, "shape": job.shape}
    try:
        count = 0
        with temporary.open("wb") as output:  # a full disk kills a process that writes into a map
            write_array_header_1_0(output, header)
            for frame in stream_clip(clip):
                count += 1
                output.write(resized(frame, (height, width)).tobytes())
        if count != clip.num_frames:
            return InputError(
                f"it shows {counted(count, 'frame')} where {clip.num_frames} were counted"
            )
        flush(temporary)
        os.replace(temporary, file)
    except InputError as error:
        return error
    finally:
        temporary.unlink(missing_ok=True)
    return None
