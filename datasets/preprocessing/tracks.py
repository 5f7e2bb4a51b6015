"""Track the face through each scene of a video, and choose the clips to cut.

Times are frames at 25 a second, boxes are squares around faces in pixels of the video.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from statistics import median
from typing import NamedTuple

from datasets.preprocessing.cutting import RATE
from faces.crop import FaceCropConfig
from faces.main_face import median_box, overlap
from media.pictures import Box

# The face in clips that were cut as VoxCeleb's are: the medians of the cascade's squares in 657
# frames of 219 such clips; 90 % of the widths lie between 0.40 and 0.68
USUAL = FaceCropConfig(face_x=0.505, face_y=0.485, face_width=0.55)
MARGIN = 0.15  # of the face's width that a crop leaves beside it, wherever it moves

SAMPLED_EVERY = 5  # frames between two detections
SAME_FACE = 0.3  # least overlap (intersection over union) of one face in two detections
MAX_MISSED = 2 * RATE  # frames for which a face may go unseen: the cascade finds no profiles
MIN_SEEN = 4  # detections of a face at least: false boxes come and go
MIN_SEEN_SHARE = 0.35  # of the detections from its first to its last
COMPARABLE = 0.5  # of the main face's width: smaller faces do not matter
TOGETHER = 2  # detections with both of two faces make a second face
NEAR_EDGE = 2 * SAMPLED_EVERY  # frames from a cut for which a face may go unseen and still be there
MAX_GROWTH = 1.4  # of a crop, for a face that moves; one that moves further is cut in time

NO_FACE, SECOND_FACE = "no face", "second face"


class Detection(NamedTuple):
    """Faces that a detector found in one frame."""

    frame: int
    faces: tuple[Box, ...]


class Scene(NamedTuple):
    """Part of a video between two cuts."""

    start: int
    end: int  # the first frame after it
    detections: tuple[Detection, ...]


class Limits(NamedTuple):
    """Limits of the clips that are cut."""

    min_seconds: float = 2
    max_seconds: float = 20  # longer ones are cut into equal parts: VoxCeleb's have 4 to 20
    min_size: int = 128  # pixels: side of the crop in the video

    def fault(self, start: int, end: int, crop: Box | None = None) -> str | None:
        """Return the reason in reports why a segment is not cut; None where it is."""
        if end - start < self.min_seconds * RATE:
            return f"shorter than {self.min_seconds:g} s"
        if crop is not None and crop.width < self.min_size:
            return f"smaller than {self.min_size} px"
        return None


class Segment(NamedTuple):
    """Part of a scene: a clip to cut, or to drop for a reason."""

    start: int
    end: int
    crop: Box | None  # None where the whole scene is dropped
    reason: str | None = None


Sighting = tuple[int, Box]  # a frame, and the box around the face in it


class Track(NamedTuple):
    """Sightings of one face."""

    sightings: list[Sighting]

    @property
    def start(self) -> int:
        return self.sightings[0][0]

    @property
    def end(self) -> int:
        return self.sightings[-1][0] + 1

    @property
    def box(self) -> Box:
        """Usual place of the face."""
        return median_box([box for _, box in self.sightings])

    def is_beside(self, other: "Track") -> bool:
        """Whether the two tracks show different faces at the same time."""
        common = {frame for frame, _ in self.sightings} & {frame for frame, _ in other.sightings}
        at_once = self.start < other.end and other.start < self.end
        apart = overlap(self.box, other.box) == 0
        return len(common) >= TOGETHER or (at_once and apart)


def find_segments(scene: Scene, size: tuple[int, int], limits: Limits) -> list[Segment]:
    """Choose the segments of a scene, one or more, in a video of this width and height."""
    whole = Segment(scene.start, scene.end, None)
    if (fault := limits.fault(scene.start, scene.end)) is not None:
        return [whole._replace(reason=fault)]
    tracks = [track for track in find_tracks(scene.detections) if _is_real(track)]
    if not tracks:
        return [whole._replace(reason=NO_FACE)]
    largest = max(tracks, key=lambda track: track.box.width * len(track.sightings)).box.width
    tracks = [track for track in tracks if track.box.width >= COMPARABLE * largest]
    if any(a.is_beside(b) for a, b in combinations(tracks, 2)):
        return [whole._replace(reason=SECOND_FACE)]
    return [segment for track in _joined(tracks) for segment in _split(track, scene, size, limits)]


def _joined(tracks: Sequence[Track]) -> list[Track]:
    """Sort tracks by time, and join those of the same time: they show one face that moved fast."""
    joined: list[Track] = []
    for track in sorted(tracks, key=lambda track: track.start):
        if joined and track.start < joined[-1].end:
            sightings = dict(joined[-1].sightings) | dict(track.sightings)
            joined[-1] = Track(sorted(sightings.items()))
        else:
            joined.append(track)
    return joined


def find_tracks(detections: Sequence[Detection]) -> list[Track]:
    """Join the faces of successive detections to tracks where their boxes overlap."""
    tracks: list[Track] = []
    current: list[Track] = []
    for frame, found in detections:
        faces = _outermost(found)
        current = [track for track in current if frame - track.end < MAX_MISSED]
        pairs = [
            (shared, i, j)
            for i, track in enumerate(current)
            for j, face in enumerate(faces)
            if (shared := overlap(track.sightings[-1][1], face)) >= SAME_FACE
        ]
        free_tracks, free_faces = set(range(len(current))), set(range(len(faces)))
        for _, i, j in sorted(pairs, reverse=True):
            if i in free_tracks and j in free_faces:
                current[i].sightings.append((frame, faces[j]))
                free_tracks.remove(i)
                free_faces.remove(j)
        new = [Track([(frame, faces[j])]) for j in sorted(free_faces)]
        tracks += new
        current += new
    return tracks


def _outermost(faces: Sequence[Box]) -> list[Box]:
    """Drop boxes that lie in larger ones: now and then a mouth is detected as a face."""
    kept: list[Box] = []
    for face in sorted(faces, key=lambda face: face.width, reverse=True):
        x, y = face.centre
        if not any(box.left < x < box.right and box.top < y < box.bottom for box in kept):
            kept.append(face)
    return kept


def _is_real(track: Track) -> bool:
    """Whether a track shows a face: false boxes do not last."""
    num_detections = (track.end - 1 - track.start) / SAMPLED_EVERY + 1
    return len(track.sightings) >= max(MIN_SEEN, MIN_SEEN_SHARE * num_detections)


def _split(track: Track, scene: Scene, size: tuple[int, int], limits: Limits) -> Iterator[Segment]:
    """Split the time of one face where it becomes too long or the face moves too far."""
    start = scene.start if track.start - scene.start < NEAR_EDGE else track.start
    end = scene.end if scene.end - track.end < NEAR_EDGE else track.end
    for part in _equal_parts(_smoothed(track.sightings), start, end, limits):
        for begin, until, faces in _steady_parts(*part):
            crop = clip_crop(faces, size)
            yield Segment(begin, until, crop, limits.fault(begin, until, crop))


def _smoothed(sightings: Sequence[Sighting]) -> list[Sighting]:
    """Take medians of three sightings, so that a single wrong box has no effect."""
    padded = [sightings[0], *sightings, sightings[-1]]
    return [
        (frame, median_box([box for _, box in padded[i : i + 3]]))
        for i, (frame, _) in enumerate(sightings)
    ]


def _equal_parts(
    sightings: Sequence[Sighting], start: int, end: int, limits: Limits
) -> Iterator[tuple[int, int, list[Sighting]]]:
    """Split the time from ``start`` to ``end`` into equal parts that are not too long."""
    num_parts = math.ceil((end - start) / (limits.max_seconds * RATE))
    edges = [start + (end - start) * part // num_parts for part in range(num_parts + 1)]
    for begin, until in pairwise(edges):
        inside = [sighting for sighting in sightings if begin <= sighting[0] < until]
        if inside:
            yield begin, until, inside


def _steady_parts(
    start: int, end: int, sightings: Sequence[Sighting]
) -> Iterator[tuple[int, int, list[Box]]]:
    """Split a time where the crop would grow too much, and return the boxes of each part."""
    faces: list[Box] = []
    for frame, box in sightings:
        grown = [*faces, box]
        if faces and least_side(grown) > MAX_GROWTH * usual_side(grown):
            yield start, frame, faces
            start, grown = frame, [box]
        faces = grown
    yield start, end, faces


def clip_crop(faces: Sequence[Box], size: tuple[int, int]) -> Box:
    """Compute the fixed square that shows a moving face as large as usual training clips do.

    Its side follows from the median width of the boxes, its place from their extent; it grows where
    the face moves more than fits.  In a video of width and height ``size`` it is shifted inside,
    and made smaller only where that is not enough.
    """
    x, y = _extent(faces).centre
    half = USUAL.face_width * max(usual_side(faces), least_side(faces)) / 2
    return USUAL.crop_around(Box(x - half, y - half, x + half, y + half)).squared(*size)


def _extent(faces: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*faces, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def _width(faces: Sequence[Box]) -> float:
    return median(face.width for face in faces)


def usual_side(faces: Sequence[Box]) -> float:
    """Side of the crop around a face that does not move."""
    return _width(faces) / USUAL.face_width


def least_side(faces: Sequence[Box]) -> float:
    """Side of the smallest crop that contains the face wherever it moves."""
    extent = _extent(faces)
    return max(extent.width, extent.height) + 2 * MARGIN * _width(faces)
