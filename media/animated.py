"""Read animated pictures, WebP, PNG and AVIF: frames, and the times at which they are shown."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from media.pictures import PICTURE_SUFFIXES, Picture, open_picture, to_rgb
from utils.errors import InputError

# A JPEG may hold a photograph twice, and a TIFF pages, which are no animations
FORMATS = {"WEBP", "PNG", "AVIF", "GIF"}
SHORTEST, INSTEAD = 10, 100  # ms: browsers show a frame of no more than that for so long
TICK = Fraction(1, 1000)  # seconds, in which durations are stated


class Animation(NamedTuple):
    """Times at which the frames of an animated picture are shown."""

    times: tuple[Fraction, ...]  # seconds from the first
    seconds: Fraction  # of all

    @property
    def rate(self) -> Fraction:
        """Average rate in frames per second."""
        return len(self.times) / self.seconds


def animation(path: Path) -> Animation | None:
    """Read the times of an animated picture's frames; None for any other file."""
    if path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file():
        return None
    status = path.stat()
    return _animation(path, status.st_size, status.st_mtime_ns)


def moves(path: Path) -> bool:
    """Tell whether a file is an animated picture; one that cannot be read is not."""
    try:
        return animation(path) is not None
    except InputError:
        return False


@lru_cache(2**12)
def _animation(path: Path, *state: int) -> Animation | None:
    """Decode all frames for their times, once as long as the file's state is the same."""
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
    """Read the frames of an animated picture in order, (H, W, 3) each."""
    with open_picture(path) as image:
        for frame in _frames(image):
            yield to_rgb(frame)


def is_animated(image: Image.Image) -> bool:
    """Tell whether an open picture has frames to be shown one after the other."""
    return image.format in FORMATS and _num_frames(image) > 1


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    """Move an open picture through its frames."""
    for number in range(_first(image), getattr(image, "n_frames", 1)):
        image.seek(number)
        yield image


def _num_frames(image: Image.Image) -> int:
    """Count the frames of an open picture."""
    return int(getattr(image, "n_frames", 1)) - _first(image)


def _first(image: Image.Image) -> int:
    """Number of the first frame: 1 where a PNG has a still picture for other viewers before it."""
    return int(getattr(image, "default_image", False))
