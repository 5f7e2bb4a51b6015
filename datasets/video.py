"""Frames of videos, GIFs, folders and pictures: read one at a time, and written back.

Outside the network a frame is an array (H, W, 3) of 8-bit RGB, upright, with its time in seconds
from the first frame. PyAV decodes, so that rates and times stay exact fractions. Whatever cannot
be read ends in one InputError that names the file, also where damage shows only in mid-stream.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.container import InputContainer

from datasets.pictures import PICTURE_SUFFIXES, Picture, frame_paths, over_white, read_image
from datasets.writers import FolderWriter, VideoWriter, open_writer
from modules.errors import InputError

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

STILL_RATE = Fraction(25)  # frames a second of pictures in a folder: VoxCeleb's


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


def probe(path: str | Path) -> Video:
    """What a video, GIF, folder of frames or picture holds; decodes its first frame alone."""
    path = Path(path)
    if _is_still(path):
        stills = _stills(path)
        height, width, _ = read_image(stills[0]).shape
        return Video(path, STILL_RATE, len(stills), (height, width), False, False)
    with _open(path) as (container, stream):
        first, times = None, []
        for packet in _packets(path, container, stream):
            if first is None:
                first = next(iter(packet.decode()), None)
            if _is_shown(packet):
                times.append(packet.pts)
        if first is None:
            raise _no_frames(path)
        height, width, _ = _upright(first).shape
        return Video(
            path,
            rate=_rate(stream),
            num_frames=len(times),
            size=(height, width),
            variable_rate=_has_times(container, times) and _varies(sorted(times), stream),
            has_audio=bool(container.streams.audio),
        )


def read_frames(path: str | Path) -> Iterator[Frame]:
    """The frames of a video, GIF, folder of frames or single picture, in order, one at a time."""
    path = Path(path)
    if _is_still(path):
        for index, still in enumerate(_stills(path)):
            yield Frame(read_image(still), index / STILL_RATE)
        return
    with _open(path) as (container, stream):
        tick, rate = Fraction(stream.time_base), _rate(stream)
        start = None
        for index, frame in enumerate(_decode(path, container, stream)):
            if _has_times(container, [frame.pts]):
                start = frame.pts if start is None else start
                yield Frame(_upright(frame), (frame.pts - start) * tick)
            else:
                yield Frame(_upright(frame), index / rate)


def frames_at(path: str | Path, indices: Sequence[int]) -> list[Picture]:
    """The frames with these numbers, decoding no more than from the key frames before them."""
    path = Path(path)
    if _is_still(path):
        stills = _stills(path)
        _check_bounds(path, indices, len(stills))
        return [read_image(stills[index]) for index in indices]
    with _open(path) as (container, stream):
        packets = [packet for packet in _packets(path, container, stream) if _is_shown(packet)]
        _check_bounds(path, indices, len(packets))
        times = [packet.pts for packet in packets]
        if _has_times(container, times):
            times.sort()
            keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
            found = _seek(path, container, stream, keys, {times[index] for index in indices})
        else:
            container.seek(0)
            wanted = set(indices)
            times = list(range(len(packets)))
            found = {
                index: _upright(frame)
                for index, frame in enumerate(_decode(path, container, stream))
                if index in wanted
            }
    if len(found) < len(set(indices)):
        raise InputError(f"{path} is damaged: not all of its frames can be decoded.")
    return [found[times[index]] for index in indices]


def _seek(
    path: Path,
    container: InputContainer,
    stream: av.VideoStream,
    keys: list[int],
    wanted: set[int],
) -> dict[int, Picture]:
    """The frames of these times, jumping ahead where a key frame saves decoding."""
    found: dict[int, Picture] = {}
    frames: Iterator[av.VideoFrame] = iter(())
    position = None
    for time in sorted(wanted):
        key = keys[max(bisect_right(keys, time) - 1, 0)]
        if position is None or key > position:
            container.seek(key, stream=stream)
            frames = _decode(path, container, stream)
        for frame in frames:
            position = frame.pts
            if position == time:
                found[time] = _upright(frame)
            if position >= time:
                break
    return found


def _is_still(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in PICTURE_SUFFIXES


def _stills(path: Path) -> list[Path]:
    return frame_paths(path) if path.is_dir() else [path]


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """A video file and its first video stream; what FFmpeg refuses becomes an InputError."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the path of a video.")
    try:
        with av.open(f"file:{path}") as container:  # "file:", or a colon would name a protocol
            if container.format.name == "tty":  # FFmpeg would show the letters of a text
                raise InputError(f"{path} is a text, not a video: give a video.")
            if not container.streams.video:
                raise InputError(f"{path} has no video stream: give a file that has one.")
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # for small frames threads cost more than they give
            yield container, stream
    except av.FFmpegError as error:
        raise InputError(f"{path} is not a video or is damaged: {error.strerror}.") from error


def _decode(
    path: Path, container: InputContainer, stream: av.VideoStream
) -> Iterator[av.VideoFrame]:
    """The frames from here to the end, at least one."""
    frame = None
    for packet in _packets(path, container, stream):
        for frame in packet.decode():
            if frame.is_corrupt:
                raise InputError(f"{path} is damaged: one of its frames cannot be decoded.")
            yield frame
    if frame is None:
        raise _no_frames(path)


def _packets(path: Path, container: InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The packets from here to the end; InputError where the file was cut."""
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise InputError(f"{path} is damaged: it ends in the middle of a frame.")
        yield packet
    if container.format.name == "gif" and not _has_end_mark(path):
        raise InputError(f"{path} is damaged: it ends before the end mark of a GIF.")


def _has_end_mark(gif: Path) -> bool:
    with gif.open("rb") as file:
        file.seek(-min(gif.stat().st_size, 1024), os.SEEK_END)
        return file.read().rstrip(b"\0\r\n").endswith(b";")


def _is_shown(packet: av.Packet) -> bool:
    """Whether the packet holds a frame that no edit list cuts away."""
    return packet.size > 0 and not packet.is_discard


def _has_times(container: InputContainer, times: Sequence[int | None]) -> bool:
    """Whether frames carry their times: AVI has none, and what FFmpeg makes up is disordered."""
    return container.format.name != "avi" and None not in times


def _varies(times: list[int], stream: av.VideoStream) -> bool:
    """Whether some frame is a tick or more away from where the average rate puts it."""
    tick, rate = Fraction(stream.time_base), _rate(stream)
    return any(
        abs((time - times[0]) * tick - index / rate) > tick for index, time in enumerate(times)
    )


def _rate(stream: av.VideoStream) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    return Fraction(rate) if rate else STILL_RATE  # PyAV 19 has a fraction type of its own


def _upright(frame: av.VideoFrame) -> Picture:
    """The frame as RGB, turned as the file's rotation tag asks."""
    if any(component.is_alpha for component in frame.format.components):
        image = over_white(frame.to_ndarray(format="rgba"))
    else:
        image = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))


def _check_bounds(path: Path, indices: Sequence[int], num_frames: int) -> None:
    if not all(0 <= index < num_frames for index in indices):
        raise InputError(f"{path} holds {num_frames} frames: there is no frame {max(indices)}.")


def _no_frames(path: Path) -> InputError:
    return InputError(f"{path} holds no frames: give a video with at least one.")
