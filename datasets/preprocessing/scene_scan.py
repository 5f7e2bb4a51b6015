"""Scan a raw video for its scenes and the faces in them, and keep the result in a small file."""

import hashlib
import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
from av.filter import Graph
from pydantic import PositiveInt

from datasets.preprocessing.cutting import RawVideo, rounded
from datasets.preprocessing.tracks import SAMPLED_EVERY, Detection, Scene
from faces.detectors import FaceDetector
from media.pictures import Picture
from utils.errors import InputError
from utils.files import fingerprint, make_folder
from utils.section import Section

# FFmpeg's scene score, from 0 to 1.  Of 97 cuts between different clips of talking people the
# lowest scored 0.21, and 5 of 7320 frames within clips scored more, in two clips filmed by hand
# from very near.  A cut that is missed joins two people; one too many only splits a clip.
THRESHOLD = 0.2
SEEN_AT = 512  # pixels: longer side of the frames that are scanned, unless they are smaller
BATCH = 8  # frames for one call of a detector


class SceneScan(Section):
    """Scenes of a video, with the faces that a detector found in them."""

    detector: str
    state: str  # fingerprint of the video file
    size: tuple[PositiveInt, PositiveInt]  # width and height in pixels, upright
    scenes: tuple[Scene, ...]


def scan_video(video: Path, detector: FaceDetector, folder: Path) -> SceneScan:
    """Scan a video, or read its earlier scan from ``folder``.

    Raises InputError for a video that cannot be read, and OutputError for a file that cannot be
    written.
    """
    if cached := cached_scan(video, detector.name, folder):
        return cached
    state = fingerprint([video])
    raw = RawVideo.open(video)
    scan = SceneScan(
        detector=detector.name, state=state, size=raw.size, scenes=tuple(find_scenes(raw, detector))
    )
    make_folder(folder)
    scan.write_json(_file(video, folder))
    return scan


def cached_scan(video: Path, detector: str, folder: Path) -> SceneScan | None:
    """Read the earlier scan of a video; None where there is none, or the video has changed."""
    try:
        scan = SceneScan.read_json(_file(video, folder), "is not a scan.")
        current = scan is not None and scan.state == fingerprint([video])
    except (InputError, OSError):
        return None
    return scan if current and scan is not None and scan.detector == detector else None


def _file(video: Path, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(video)).hexdigest()[:16]}.json"


def find_scenes(raw: RawVideo, detector: FaceDetector) -> list[Scene]:
    """Find the scenes of a video, and detect faces a batch of frames at a time."""
    starts: list[int] = []
    detections: list[Detection] = []
    sampled = _sampled(raw, starts)
    while batch := list(islice(sampled, BATCH)):
        numbers, frames = zip(*batch, strict=True)
        scale = raw.size[0] / frames[0].shape[1]
        for number, faces in zip(numbers, detector(frames), strict=True):
            boxes = tuple(rounded(face.box.scaled(scale, scale), 1) for face in faces)
            detections.append(Detection(number, boxes))
    return [
        Scene(start, end, tuple(found for found in detections if start <= found.frame < end))
        for start, end in pairwise([*starts, raw.num_frames])
    ]


def _sampled(raw: RawVideo, starts: list[int]) -> Iterator[tuple[int, Picture]]:
    """Yield the frames in which to detect faces, with their numbers; adds starts of scenes."""
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
    """Yield the frames that clips may show, shrunk, with their first numbers at 25 a second."""
    shrink = min(SEEN_AT / max(raw.size), 1)
    width, height = (max(round(side * shrink), 1) for side in raw.size)
    small = raw.display._replace(size=(height, width))
    number = 0
    for time, frame in raw.frames(0, raw.num_frames - 1):
        while number < raw.num_frames and raw.time(number) < time:
            number += 1
        if number < raw.num_frames and raw.time(number) == time:
            yield number, small.picture(frame, quickly=True)


class CutFinder:
    """Find the frames at which scenes begin, by FFmpeg's scene score.

    Frames are passed one after the other, and only the last one is kept.  Colours count: pass RGB,
    about 256 pixels wide.
    """

    def __init__(self) -> None:
        self.graph: Graph | None = None
        self.count = 0

    def begins_scene(self, frame: Picture) -> bool:
        """Whether the frame, of the same size as those before it, is the first after a cut."""
        self.graph = self.graph or self._graph(frame)
        shown = av.VideoFrame.from_ndarray(frame, format="rgb24")
        shown.pts, self.count = self.count, self.count + 1
        self.graph.push(shown)
        try:
            self.graph.pull()
        except BlockingIOError:  # the filter kept the frame back: no cut
            return False
        return True

    def _graph(self, frame: Picture) -> Graph:
        height, width, _ = frame.shape
        graph = Graph()
        form = av.VideoFormat("rgb24")
        source = graph.add_buffer(
            width=width, height=height, format=form, time_base=Fraction(1, 25)
        )
        select = graph.add("select", f"gt(scene,{THRESHOLD})")
        graph.link_nodes(source, select, graph.add("buffersink")).configure()
        return graph
