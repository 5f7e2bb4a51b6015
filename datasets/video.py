"""Frames of videos, GIFs, folders and pictures: read one at a time, and written back.

Outside the network a frame is an array (H, W, 3) of 8-bit RGB, upright, with its time in seconds
from the first frame; rates and times are exact fractions. Whatever cannot be read or written ends
in one InputError that names the file.
"""

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from datasets.pictures import PICTURE_SUFFIXES, Picture, frame_paths, read_image
from datasets.video_file import open_video, upright
from datasets.writers import FolderWriter, VideoWriter, open_writer
from modules.errors import InputError
from modules.wording import counted

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
    size: tuple[int, int]  # height and width, upright
    variable_rate: bool
    has_audio: bool


def probe(path: str | Path, still_rate: Fraction = STILL_RATE) -> Video:
    """What a video, GIF, folder of frames or picture holds; decodes its first frame alone.

    A folder, whose frames have no times, is taken to show ``still_rate`` of them a second.
    """
    path = Path(path)
    if _is_still(path):
        stills = _stills(path)
        height, width, _ = read_image(stills[0]).shape
        return Video(path, still_rate, len(stills), (height, width), False, False)
    with open_video(path) as video:
        times = video.index().times
        _, first = next(video.decode(start=times[0] if times else 0))
        height, width, _ = upright(first).shape
        return Video(
            path,
            rate=video.rate,
            num_frames=len(times),
            size=(height, width),
            variable_rate=_varies(times, video.tick, video.rate),
            has_audio=video.has_audio,
        )


def read_frames(path: str | Path, still_rate: Fraction = STILL_RATE) -> Iterator[Frame]:
    """The frames of a video, GIF, folder of frames or single picture, in order, one at a time.

    Those of a folder are ``still_rate`` a second.
    """
    path = Path(path)
    if _is_still(path):
        for number, still in enumerate(_stills(path)):
            yield Frame(read_image(still), number / still_rate)
        return
    with open_video(path) as video:
        start = None
        for time, frame in video.decode():
            start = time if start is None else start
            yield Frame(upright(frame), (time - start) * video.tick)


def frames_at(path: str | Path, numbers: Sequence[int]) -> list[Picture]:
    """The frames with these numbers, decoding no more than from the key frames before them."""
    path = Path(path)
    if not _is_still(path):
        with open_video(path) as video:
            return video.frames_at(numbers)
    stills = _stills(path)
    if not all(0 <= number < len(stills) for number in numbers):
        raise InputError(
            f"{path} holds {counted(len(stills), 'frame')}: there is no frame {max(numbers)}."
        )
    return [read_image(stills[number]) for number in numbers]


def _is_still(path: Path) -> bool:
    # os.path, which raises nothing where the folder above may not be looked into
    return os.path.isdir(path) or path.suffix.lower() in PICTURE_SUFFIXES


def _stills(path: Path) -> list[Path]:
    return frame_paths(path) if path.is_dir() else [path]


def _varies(times: Sequence[int], tick: Fraction, rate: Fraction) -> bool:
    """Whether a frame is more than a tick away from where the average rate puts it."""
    return any(
        abs((time - times[0]) * tick - number / rate) > tick for number, time in enumerate(times)
    )
