"""Animated pictures, WebP, PNG and AVIF: their frames with the times at which they are shown."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from media.pictures import PICTURE_SUFFIXES, Picture, open_picture, to_rgb
from utils.errors import InputError

# A JPEG may hold a photograph twice, and a TIFF pages: these are no animations
FORMATS = {"WEBP", "PNG", "AVIF", "GIF"}
SHORTEST, INSTEAD = 10, 100  # ms: browsers show a frame of no more than that for so long
TICK = Fraction(1, 1000)  # seconds, in which durations are stated


class Animation(NamedTuple):
    """When the frames of an animated picture are shown."""

    times: tuple[Fraction, ...]  # seconds from the first
    seconds: Fraction  # of all

    @property
    def rate(self) -> Fraction:
        """The average, in frames a second."""
        return len(self.times) / self.seconds


def animation(path: Path) -> Animation | None:
    """When the frames of a picture are shown; None where it stands still or is no picture."""
    if path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file():
        return None
    status = path.stat()
    return _animation(path, status.st_size, status.st_mtime_ns)


def moves(path: Path) -> bool:
    """Whether a file is an animated picture; one that cannot be read is not."""
    try:
        return animation(path) is not None
    except InputError:
        return False


@lru_cache(2**12)
def _animation(path: Path, *state: int) -> Animation | None:
    """The same, for which all frames are decoded once as long as the file's state is the same."""
    with open_picture(path) as image:
        if not is_animated(image):
            return None
        starts: list[float] = []
        durations: list[float] = []
        for frame in _frames(image):
            frame.load()
            duration = float(frame.info.get("duration") or 0)
            after = starts[-1] + durations[-1] if starts else 0.0
            starts.append(float(frame.info.get("timestamp", after)))  # not rounded as durations are
            durations.append(duration)
    durations[:-1] = [end - start for start, end in itertools.pairwise(starts)]
    shown = [
        Fraction(duration if duration > SHORTEST else INSTEAD).limit_denominator(1000) * TICK
        for duration in durations
    ]
    ends = tuple(itertools.accumulate(shown, initial=Fraction(0)))
    return Animation(ends[:-1], ends[-1])


def animation_frames(path: Path) -> Iterator[Picture]:
    """The frames of an animated picture as pictures, in order."""
    with open_picture(path) as image:
        for frame in _frames(image):
            yield to_rgb(frame)


def is_animated(image: Image.Image) -> bool:
    """Whether an opened picture has frames to be shown one after the other."""
    return image.format in FORMATS and _num_frames(image) > 1


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    """The same object at each of its frames."""
    for number in range(_first(image), getattr(image, "n_frames", 1)):
        image.seek(number)
        yield image


def _num_frames(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1)) - _first(image)


def _first(image: Image.Image) -> int:
    """1 where a PNG has another picture for those who cannot animate it."""
    return int(getattr(image, "default_image", False))
