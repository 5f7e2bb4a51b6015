"""Read the frames of videos, GIFs, folders and pictures one at a time.

Outside the network a frame is an array (H, W, 3) of 8-bit RGB, upright, with its time in seconds
from the first frame; rates and times are exact fractions.  What cannot be read or written raises
one InputError that names the file.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from media.animated import TICK as ANIMATION_TICK
from media.animated import animation, animation_frames
from media.decoder import open_video, require_numbers
from media.pictures import PICTURE_SUFFIXES, Picture, Size, fitted, frame_paths, read_image
from media.writers import FolderWriter, VideoWriter, open_writer
from utils.errors import InputError

__all__ = [
    "FolderWriter",
    "Frame",
    "Video",
    "VideoWriter",
    "frames_at",
    "open_writer",
    "probe",
    "read_frames",
    "read_image",
]

FAR_RATE = 0.5  # of the average: a stated rate that is off by more is not used
STILL_RATE = Fraction(25)  # default for a folder of pictures in frames per second, as in VoxCeleb


class Frame(NamedTuple):
    """Frame of a video, with its time."""

    image: Picture
    time: Fraction  # seconds from the first frame


class Video(NamedTuple):
    """Properties of a video that are known before it is decoded."""

    path: Path
    rate: Fraction  # frames per second; the average where it varies
    num_frames: int
    size: Size  # of every frame, upright and with square pixels: the first one's
    variable_rate: bool
    has_audio: bool


def probe(path: str | Path, still_rate: Fraction = STILL_RATE) -> Video:
    """Read the properties of a video, GIF, folder of frames or picture from its first frame.

    Animated pictures are decoded to the end, which tells their times.  A folder, whose frames have
    no times, has ``still_rate`` frames per second.
    """
    path = Path(path)
    if _is_still(path):
        if animated := animation(path):
            ticks, rate = [round(time / ANIMATION_TICK) for time in animated.times], animated.rate
            varies = _varies(ticks, ANIMATION_TICK, rate)
            return Video(path, rate, len(ticks), _size_of_all([path]), varies, False)
        stills = _stills(path)
        return Video(path, still_rate, len(stills), _size_of_all(stills), False, False)
    with open_video(path) as video:
        times = video.index().times
        rate = _true_rate(times, video.tick, video.rate)
        return Video(
            path,
            rate=rate,
            num_frames=len(times),
            size=video.display().size,
            variable_rate=_varies(times, video.tick, rate),
            has_audio=video.has_audio,
        )


def read_frames(
    path: str | Path, first: int = 0, *, still_rate: Fraction = STILL_RATE
) -> Iterator[Frame]:
    """Read the frames of a video, GIF, folder of frames or single picture in order.

    They begin with number ``first``, at time 0, whatever is wrong with earlier ones.  A folder has
    ``still_rate`` frames per second.
    """
    path = Path(path)
    if _is_still(path):
        if animated := animation(path):
            frames = zip(animation_frames(path), animated.times, strict=True)
            for image, shown in itertools.islice(frames, first, None):
                yield Frame(image, shown - animated.times[first])
            return
        stills = _stills(path)
        for number, still in enumerate(stills[first:]):
            yield Frame(fitted(read_image(still), _size_of_all(stills)), number / still_rate)
        return
    with open_video(path) as video:
        start = None
        for time, frame in video.decode_from(first):
            start = time if start is None else start
            yield Frame(video.display().picture(frame), (time - start) * video.tick)


def frames_at(path: str | Path, numbers: Sequence[int]) -> list[Picture]:
    """Read the frames with these numbers, decoding from key frames before them if possible."""
    path = Path(path)
    if not _is_still(path):
        with open_video(path) as video:
            return video.frames_at(numbers)
    if animated := animation(path):
        require_numbers(numbers, len(animated.times), path)
        wanted = set(numbers)
        frames = enumerate(itertools.islice(animation_frames(path), max(wanted) + 1))
        found = {number: frame for number, frame in frames if number in wanted}
        return [found[number] for number in numbers]
    stills = _stills(path)
    require_numbers(numbers, len(stills), path)
    size = _size_of_all(stills)
    return [fitted(read_image(stills[number]), size) for number in numbers]


def _is_still(path: Path) -> bool:
    """Tell whether a path is a folder or a picture, which may be animated."""
    # os.path, which raises nothing where the folder above may not be looked into
    return os.path.isdir(path) or path.suffix.lower() in PICTURE_SUFFIXES


def _stills(path: Path) -> list[Path]:
    """List the frames of a folder, or the picture itself."""
    return frame_paths(path) if path.is_dir() else [path]


def _size_of_all(stills: Sequence[Path]) -> Size:
    """Size of the first picture of a folder, to which all others are brought."""
    if not stills[0].is_file():
        raise InputError(f"{stills[0]} does not exist: give the path of a picture.")
    status = stills[0].stat()
    return _upright_size(stills[0], status.st_size, status.st_mtime_ns)


@lru_cache(2**15)
def _upright_size(path: Path, *state: int) -> Size:
    """Height and width of a picture, which is decoded once as long as its state is the same."""
    height, width, _ = read_image(path).shape
    return height, width


def _true_rate(times: Sequence[int], tick: Fraction, stated: Fraction) -> Fraction:
    """Return the stated rate, or the average of the frames where that is very different.

    Recordings of webcams state 1000 frames per second, the unit of their time stamps.
    """
    if len(times) < 2 or times[0] == times[-1]:
        return stated
    average = (len(times) - 1) / ((times[-1] - times[0]) * tick)
    is_near = abs(stated / average - 1) <= FAR_RATE
    return stated if is_near else average.limit_denominator(100_000)


def _varies(times: Sequence[int], tick: Fraction, rate: Fraction) -> bool:
    """Tell whether a frame is more than a tick away from where the average rate puts it."""
    return any(
        abs((time - times[0]) * tick - number / rate) > tick for number, time in enumerate(times)
    )
