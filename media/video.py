"""Frames of videos, GIFs, folders and pictures: read one at a time, and written back.

Outside the network a frame is an array (H, W, 3) of 8-bit RGB, upright, with its time in seconds
from the first frame; rates and times are exact fractions. Whatever cannot be read or written ends
in one InputError that names the file.
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
from media.decoder import open_video
from media.pictures import PICTURE_SUFFIXES, Picture, Size, fitted, frame_paths, read_image
from media.writers import FolderWriter, VideoWriter, open_writer
from utils.errors import InputError
from utils.wording import counted

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

FAR_RATE = 0.5  # of the average: a stated rate that is off by more is not one
STILL_RATE = Fraction(25)  # frames a second of a folder of pictures if not told, as in VoxCeleb


class Frame(NamedTuple):
    """One frame of a video."""

    image: Picture
    time: Fraction  # seconds from the first frame


class Video(NamedTuple):
    """What is known of a video before it is decoded."""

    path: Path
    rate: Fraction  # frames a second; the average where it varies
    num_frames: int
    size: Size  # of every frame, upright and with square pixels: the first one's
    variable_rate: bool
    has_audio: bool


def probe(path: str | Path, still_rate: Fraction = STILL_RATE) -> Video:
    """What a video, GIF, folder of frames or picture holds; decodes its first frame alone.

    Of an animated picture it decodes all, which tells their times.  A folder, whose frames have no
    times, is taken to show ``still_rate`` of them a second.
    """
    path = Path(path)
    if animated := animation(path):
        ticks, rate = [round(time / ANIMATION_TICK) for time in animated.times], animated.rate
        varies = _varies(ticks, ANIMATION_TICK, rate)
        return Video(path, rate, len(ticks), _size_of_all([path]), varies, False)
    if _is_still(path):
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
    """The frames of a video, GIF, folder of frames or single picture, in order, one at a time.

    From number ``first`` on, from which times are counted, whatever is wrong with those before.
    Those of a folder are ``still_rate`` a second.
    """
    path = Path(path)
    if animated := animation(path):
        frames = map(Frame, animation_frames(path), animated.times)
        for shown in itertools.islice(frames, first, None):
            yield Frame(shown.image, shown.time - animated.times[first])
        return
    if _is_still(path):
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
    """The frames with these numbers, decoding no more than from the key frames before them."""
    path = Path(path)
    if animated := animation(path):
        _require_numbers(numbers, len(animated.times), path)
        wanted = set(numbers)
        frames = enumerate(itertools.islice(animation_frames(path), max(wanted) + 1))
        found = {number: frame for number, frame in frames if number in wanted}
        return [found[number] for number in numbers]
    if not _is_still(path):
        with open_video(path) as video:
            return video.frames_at(numbers)
    stills = _stills(path)
    _require_numbers(numbers, len(stills), path)
    size = _size_of_all(stills)
    return [fitted(read_image(stills[number]), size) for number in numbers]


def _require_numbers(numbers: Sequence[int], num_frames: int, path: Path) -> None:
    if not all(0 <= number < num_frames for number in numbers):
        raise InputError(
            f"{path} holds {counted(num_frames, 'frame')}: there is no frame {max(numbers)}."
        )


def _is_still(path: Path) -> bool:
    # os.path, which raises nothing where the folder above may not be looked into
    return os.path.isdir(path) or path.suffix.lower() in PICTURE_SUFFIXES


def _stills(path: Path) -> list[Path]:
    return frame_paths(path) if path.is_dir() else [path]


def _size_of_all(stills: Sequence[Path]) -> Size:
    """The size to which all pictures of a folder are brought: the first one's."""
    if not stills[0].is_file():
        raise InputError(f"{stills[0]} does not exist: give the path of a picture.")
    status = stills[0].stat()
    return _upright_size(stills[0], status.st_size, status.st_mtime_ns)


@lru_cache(2**15)
def _upright_size(path: Path, *state: int) -> Size:
    """The height and width of a picture, which is decoded once as long as its state is the same."""
    height, width, _ = read_image(path).shape
    return height, width


def _true_rate(times: Sequence[int], tick: Fraction, stated: Fraction) -> Fraction:
    """The rate that is stated, or the average of the frames where that is another by far.

    Recordings of webcams state 1000 frames a second, as finely as they count time.
    """
    if len(times) < 2 or times[0] == times[-1]:
        return stated
    average = (len(times) - 1) / ((times[-1] - times[0]) * tick)
    is_near = abs(stated / average - 1) <= FAR_RATE
    return stated if is_near else average.limit_denominator(100_000)


def _varies(times: Sequence[int], tick: Fraction, rate: Fraction) -> bool:
    """Whether a frame is more than a tick away from where the average rate puts it."""
    return any(
        abs((time - times[0]) * tick - number / rate) > tick for number, time in enumerate(times)
    )
