"""Measure statistics of one clip, on two frames a second."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasets.clips import Clip, frame_size, frames_of, is_strip, open_clip
from datasets.contents import without_path
from datasets.records import read_record
from media.pictures import Picture
from media.video import STILL_RATE, probe
from utils.errors import InputError

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of red, green and blue (BT.709)
BATCH = 32  # frames in memory at once


class ClipStats(NamedTuple):
    """Statistics of a clip; None where it is too short, or the value is unknown."""

    name: str
    person: str
    num_frames: int
    seconds: float
    width: int
    height: int
    brightness: float  # mean luma, 0 (black) to 255 (white)
    motion: float | None  # mean change of the luma in half a second, of 255
    first_frame_psnr: float | None  # dB, with the first frame in place of all others
    aspect: float | None  # height / width of the crop before it was resized, from its record


def measure(path: Path) -> ClipStats | str:
    """Measure a clip, or return the reason why it cannot be read."""
    try:
        return _measure(open_clip(path))
    except InputError as error:
        return without_path(error, path)


def _measure(clip: Clip) -> ClipStats:
    rate = STILL_RATE if is_strip(clip.path) else probe(clip.path).rate
    first: Picture | None = None
    previous: NDArray[np.float32] | None = None
    lumas, changes, errors = [], [], []
    # Every half second: with a key frame every 12 frames at 25 frames/s, only those are decoded
    for frame in sampled(clip, max(int(rate / 2), 1)):
        luma = frame.astype(np.float32) @ LUMA
        lumas.append(float(luma.mean()))
        if first is None or previous is None:
            first = frame
        elif luma.shape == previous.shape:  # pictures in a folder may differ
            changes.append(float(np.abs(luma - previous).mean()))
            errors.append(float(np.square(frame.astype(np.float32) - first).mean()))
        previous = luma
    error = float(np.mean(errors)) if errors else 0.0
    height, width = frame_size(clip.path)
    return ClipStats(
        clip.name,
        clip.identity,
        clip.num_frames,
        seconds=float(clip.num_frames / rate),
        width=width,
        height=height,
        brightness=float(np.mean(lumas)),
        motion=float(np.mean(changes)) if changes else None,
        first_frame_psnr=float(10 * np.log10(255**2 / error)) if error else None,
        aspect=_aspect(clip),
    )


def sampled(clip: Clip, step: int) -> Iterator[Picture]:
    numbers = range(0, clip.num_frames, step)
    for start in range(0, len(numbers), BATCH):
        yield from frames_of(clip.path, numbers[start : start + BATCH])


def _aspect(clip: Clip) -> float | None:
    try:
        record = read_record(clip.path)
    except InputError:  # reported by the command check; the clip itself is fine
        return None
    return None if record is None else record.aspect
