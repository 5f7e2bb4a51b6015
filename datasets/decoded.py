"""Clips whose frames lie decoded in a folder.

Decoding takes most of the time of loading a pair.  A set that fits the disk uncompressed is decoded
once, and what was read lately comes from the memory that the system keeps of files.
"""

import logging
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.lib.format import open_memmap

from datasets.clips import Clip, stream_clip
from datasets.jobs import WorkerDied, num_cores, run_jobs
from datasets.pictures import Picture, resized
from modules.errors import InputError, OutputError
from modules.files import state_of

logger = logging.getLogger(__name__)


class DecodedClip:
    """A clip, with its frames in a ``.npy`` file (T, H, W, 3) of 8 bits."""

    def __init__(self, clip: Clip, file: Path) -> None:
        self.clip, self.file = clip, file
        self.name, self.identity, self.num_frames = clip.name, clip.identity, clip.num_frames

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """The frames with these numbers."""
        try:
            decoded = np.load(self.file, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{self.file} is gone or damaged: begin again.") from error
        return [np.array(decoded[number]) for number in numbers]

    def as_file(self, folder: Path) -> Path:
        """The file that was decoded."""
        return self.clip.path


def decoded_clips(
    clips: Sequence[Clip], folder: Path, size: tuple[int, int]
) -> list[Clip | DecodedClip]:
    """The clips with their frames decoded into ``folder``, at a height and width.

    What lies there of an earlier time is taken, where the clip has not changed.  A clip that turns
    out to be unreadable stays as it is.  Raises OutputError where the folder cannot be written.
    """
    files = [folder / f"{state_of([clip.path])[:16]}-{size[1]}x{size[0]}.npy" for clip in clips]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # of several processes the first decodes
            missing = [job for job in zip(clips, files, strict=True) if not job[1].exists()]
            if missing:
                logger.info("Decoding %d clips into %s.", len(missing), folder)
            for (clip, _), error in run_jobs(partial(_decode, size=size), missing, num_cores()):
                if error is not None:
                    reason = error.detail if isinstance(error, WorkerDied) else error
                    logger.warning("Not decoded: %s (%s)", clip.path, reason)
    except OSError as error:
        raise OutputError(
            f"The folder of decoded frames {folder} cannot be written ({error.strerror}): leave "
            "data.decoded out, or set it to another."
        ) from error
    return [
        DecodedClip(clip, file) if file.exists() else clip
        for clip, file in zip(clips, files, strict=True)
    ]


def _decode(job: tuple[Clip, Path], size: tuple[int, int]) -> InputError | None:
    """Writes the frames of a clip, all or none; what is wrong with the clip, if anything is."""
    clip, file = job
    temporary = file.with_name(f".{file.name}.new")
    try:
        decoded = open_memmap(temporary, "w+", np.uint8, (clip.num_frames, *size, 3))
        count = 0
        for count, frame in enumerate(stream_clip(clip), start=1):
            decoded[count - 1] = resized(frame, size)
        if count != clip.num_frames:
            return InputError(f"it ends after {count} of its {clip.num_frames} frames")
        decoded.flush()
        os.replace(temporary, file)
    except InputError as error:
        return error
    finally:
        temporary.unlink(missing_ok=True)
    return None
