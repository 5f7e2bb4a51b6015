"""What is in a raw video: its scenes, and the faces seen in them.  Kept in a small file."""

import hashlib
import os
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

from pydantic import PositiveInt, ValidationError

from datasets.preprocessing.cutting import RawVideo
from datasets.preprocessing.scenes import CutFinder
from datasets.preprocessing.tracks import SAMPLED_EVERY, Detection, Scene
from faces.detectors import FaceDetector
from media.pictures import Box, Picture
from utils.errors import OutputError
from utils.files import fingerprint, write_atomically
from utils.section import Section

SEEN_AT = 512  # pixels: the longer side of the frames that are looked at, unless they are smaller
BATCH = 8  # frames that a detector gets at a time


class SceneScan(Section):
    """The scenes of a video, with what a detector saw in them."""

    detector: str
    state: str  # a hash of the name, the size and the time of the video
    size: tuple[PositiveInt, PositiveInt]  # width and height in pixels, upright
    scenes: tuple[Scene, ...]


def footage(video: Path, detector: FaceDetector, folder: Path) -> SceneScan:
    """What is in a video: read from its file in ``folder``, or looked for and written there.

    Raises InputError for a video that cannot be read, and OutputError for a file that cannot be
    written.
    """
    if kept := kept_footage(video, detector.name, folder):
        return kept
    path, state = _file(video, folder), fingerprint([video])
    raw = RawVideo.open(video)
    scenes = tuple(look_through(raw, detector))
    found = SceneScan(detector=detector.name, state=state, size=raw.size, scenes=scenes)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from error
    write_atomically(path, found.model_dump_json() + "\n")
    return found


def kept_footage(video: Path, detector: str, folder: Path) -> SceneScan | None:
    """What was found in a video before, None where that is not known or the video has changed."""
    try:
        kept = SceneScan.model_validate_json(_file(video, folder).read_text())
        return kept if (kept.detector, kept.state) == (detector, fingerprint([video])) else None
    except (OSError, ValueError, ValidationError):
        return None


def _file(video: Path, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(video)).hexdigest()[:16]}.json"


def look_through(raw: RawVideo, detector: FaceDetector) -> list[Scene]:
    """The scenes of a video; its frames are held a batch at a time.  Raises InputError."""
    starts: list[int] = []
    looks: list[Detection] = []
    sampled = _sampled(raw, starts)
    while batch := list(islice(sampled, BATCH)):
        numbers, frames = zip(*batch, strict=True)
        scale = raw.size[0] / frames[0].shape[1]
        for number, faces in zip(numbers, detector(frames), strict=True):
            boxes = (face.box.scaled(scale, scale) for face in faces)
            looks.append(
                Detection(number, tuple(Box(*(round(side, 1) for side in box)) for box in boxes))
            )
    return [
        Scene(start, end, tuple(look for look in looks if start <= look.frame < end))
        for start, end in pairwise([*starts, raw.num_frames])
    ]


def _sampled(raw: RawVideo, starts: list[int]) -> Iterator[tuple[int, Picture]]:
    """Frames in which to look for faces, with their numbers; adds the first ones of scenes."""
    finder = CutFinder()
    following = 0
    for number, frame in _small_frames(raw):
        if finder.begins_scene(frame) or not starts:
            starts.append(number)
            following = number
        if number >= following:
            yield number, frame
            following = number + SAMPLED_EVERY


def _small_frames(raw: RawVideo) -> Iterator[tuple[int, Picture]]:
    """The frames that clips may show, made small, with the first number of each at 25 a second."""
    shrink = min(SEEN_AT / max(raw.size), 1)
    width, height = (max(round(side * shrink), 1) for side in raw.size)
    small = raw.display._replace(size=(height, width))
    number = 0
    for time, frame in raw.frames(0, raw.num_frames - 1):
        while number < raw.num_frames and raw.time(number) < time:
            number += 1
        if number < raw.num_frames and raw.time(number) == time:
            yield number, small.picture(frame, quickly=True)
