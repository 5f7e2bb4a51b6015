"""Decode one clip to its end and measure its frames; none is converted or kept."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from datasets.clips import open_clip
from datasets.contents import temporary_files, without_path
from datasets.preprocessing.cutting import RATE, RawVideo
from media.decoder import Index, open_video
from media.pictures import FRAME_SUFFIXES, frame_paths, read_image, require_text
from utils.errors import InputError
from utils.files import is_hidden
from utils.wording import counted

UNREADABLE, NO_CLIP, NOT_CHECKED = "unreadable", "no clip", "not checked"

WidthHeight = tuple[int, int]


class Inspection(NamedTuple):
    """Measurements of a clip that can be read to its end."""

    num_frames: int  # at 25 frames a second, whatever the rate of the file
    sizes: tuple[WidthHeight, ...]  # the different sizes of its frames
    rate_fault: str = ""  # how its frames are not 25 a second
    key_spacing: int = 1  # most frames from one key frame to the next
    leftovers: tuple[Path, ...] = ()  # temporary files in a folder of frames


class Fault(NamedTuple):
    """Kind of problem for which a clip cannot be inspected, and the reason."""

    kind: str
    reason: str


def inspect(path: Path) -> Inspection | Fault:
    """Inspect a video, a folder of frames or a strip."""
    try:
        require_text(path)
    except InputError as error:
        return Fault(NO_CLIP, str(error))
    try:
        if path.is_dir():
            return _inspect_folder(path)
        if path.suffix.lower() in FRAME_SUFFIXES:
            num_frames, (height, _, _) = open_clip(path).num_frames, read_image(path).shape
            return Inspection(num_frames, ((height, height),))
        return _inspect_video(path)
    except InputError as error:
        misplaced = path.is_dir() and _holds_other_things(path)
        return Fault(NO_CLIP if misplaced else UNREADABLE, without_path(error, path))
    except OSError as error:
        return Fault(UNREADABLE, f"cannot be read: {error.strerror}.")


def _inspect_folder(folder: Path) -> Inspection:
    sizes = set()
    paths = frame_paths(folder)
    for path in paths:
        height, width, _ = read_image(path).shape
        sizes.add((width, height))
    leftovers = tuple(temporary_files(sorted(folder.iterdir())))
    return Inspection(len(paths), tuple(sorted(sizes)), leftovers=leftovers)


def _inspect_video(path: Path) -> Inspection:
    video = RawVideo.open(path)
    times, sizes, decoded = video.index.times, set(), 0
    with open_video(path) as opened:
        for _, frame in opened.decode():
            height, width = video.display.own_size(frame)
            sizes.add((width, height))
            decoded += 1
    if decoded < len(times):
        raise InputError(
            f"{path} is damaged: {decoded} of {counted(len(times), 'frame')} can be decoded."
        )
    fault = rate_fault(times, video.tick, video.rate)
    return Inspection(
        num_frames=video.num_frames if fault else len(times),
        sizes=tuple(sorted(sizes)),
        rate_fault=fault,
        key_spacing=key_spacing(video.index) if video.index.seeks else len(times),
    )


def rate_fault(times: Sequence[int], tick: Fraction, rate: Fraction) -> str:
    """Describe how frames are not 25 a second; "" where each is less than half a frame off."""
    if len(times) > 1 and abs(rate - RATE) > RATE / 100:
        return f"{float(rate):.4g} frames/s"
    for number, time in enumerate(times):
        if abs((time - times[0]) * tick - Fraction(number, RATE)) >= Fraction(1, 2 * RATE):
            return f"frame {number} is at {float((time - times[0]) * tick):.2f} s"
    return ""


def key_spacing(index: Index) -> int:
    """Count the most frames from one key frame to the next, or from the last one to the end."""
    starts = [bisect_left(index.times, key) for key in index.keys] + [len(index.times)]
    return max((after - start for start, after in zip(starts, starts[1:], strict=False)), default=1)


def _holds_other_things(folder: Path) -> bool:
    """Whether a folder holds files that are not frames, and no frame: it must not be deleted."""
    entries = [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
    return bool(entries) and not any(entry.suffix.lower() in FRAME_SUFFIXES for entry in entries)
