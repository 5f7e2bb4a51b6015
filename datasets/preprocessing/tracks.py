"""One face followed through each scene of a video, and the clips that this gives.

Times are frames at 25 a second, boxes squares around faces in pixels of the video.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from datasets.preprocessing.crops import least_side, training_crop, usual_side
from datasets.preprocessing.cutting import RATE
from faces.main_face import median_box, overlap
from media.pictures import Box

SAMPLED_EVERY = 5  # frames from one look for faces to the next
SAME_FACE = 0.3  # of their union is shared by the boxes of one face in two looks, at least
MAX_MISSED = 2 * RATE  # frames for which a face may go unseen: the cascade knows no profiles
MIN_SEEN = 4  # looks in which a face is seen at least: false boxes come and go
MIN_SEEN_SHARE = 0.35  # of the looks from its first to its last
COMPARABLE = 0.5  # of the main face's width: smaller ones do not disturb
TOGETHER = 2  # looks with both of two faces, or it is no second one
NEAR_EDGE = 2 * SAMPLED_EVERY  # frames from a cut that a face may go unseen and still be there
MAX_GROWTH = 1.4  # of a crop, for a face that moves; one that moves further is cut in time

NO_FACE, SECOND_FACE = "no face", "second face"


class Detection(NamedTuple):
    """What a detector saw in one frame."""

    frame: int
    faces: tuple[Box, ...]


class Scene(NamedTuple):
    """What happens between two cuts."""

    start: int
    end: int  # the first frame after it
    looks: tuple[Detection, ...]


class Limits(NamedTuple):
    """Which tracks become clips."""

    min_seconds: float = 2
    max_seconds: float = 20  # longer ones are cut into equal parts: VoxCeleb's have 4 to 20
    min_size: int = 128  # pixels: side of the crop in the video


class Segment(NamedTuple):
    """A part of a scene: a clip to be cut, or dropped for a reason."""

    start: int
    end: int
    crop: Box | None  # None where it is dropped for what else happens in the scene
    reason: str | None = None


Seen = tuple[int, Box]  # a frame, and the box around the face in it


class Track(NamedTuple):
    """The looks at one face."""

    looks: list[Seen]

    @property
    def start(self) -> int:
        return self.looks[0][0]

    @property
    def end(self) -> int:
        return self.looks[-1][0] + 1

    @property
    def box(self) -> Box:
        """The face's usual place."""
        return median_box([box for _, box in self.looks])

    def is_beside(self, other: "Track") -> bool:
        """Whether the two are of different faces that are there at the same time."""
        common = {frame for frame, _ in self.looks} & {frame for frame, _ in other.looks}
        at_once = self.start < other.end and other.start < self.end
        apart = overlap(self.box, other.box) == 0
        return len(common) >= TOGETHER or (at_once and apart)


def segments(scene: Scene, size: tuple[int, int], limits: Limits) -> list[Segment]:
    """What becomes of a scene in a video of this width and height; at least one take."""
    whole = Segment(scene.start, scene.end, None)
    if scene.end - scene.start < limits.min_seconds * RATE:
        return [whole._replace(reason=too_short(limits))]
    tracks = [track for track in follow(scene.looks) if _is_real(track)]
    if not tracks:
        return [whole._replace(reason=NO_FACE)]
    largest = max(tracks, key=lambda track: track.box.width * len(track.looks)).box.width
    tracks = [track for track in tracks if track.box.width >= COMPARABLE * largest]
    if any(a.is_beside(b) for a, b in combinations(tracks, 2)):
        return [whole._replace(reason=SECOND_FACE)]
    return [take for track in _joined(tracks) for take in _cut(track, scene, size, limits)]


def _joined(tracks: Sequence[Track]) -> list[Track]:
    """The tracks in the order of time; those of the same time are of one face that moved fast."""
    joined: list[Track] = []
    for track in sorted(tracks, key=lambda track: track.start):
        if joined and track.start < joined[-1].end:
            looks = dict(joined[-1].looks) | dict(track.looks)
            joined[-1] = Track(sorted(looks.items()))
        else:
            joined.append(track)
    return joined


def too_short(limits: Limits) -> str:
    return f"shorter than {limits.min_seconds:g} s"


def too_small(limits: Limits) -> str:
    return f"smaller than {limits.min_size} px"


def follow(looks: Sequence[Detection]) -> list[Track]:
    """The faces, joined from look to look where their boxes overlap."""
    tracks: list[Track] = []
    current: list[Track] = []
    for frame, found in looks:
        faces = _apart(found)
        current = [track for track in current if frame - track.end < MAX_MISSED]
        pairs = [
            (shared, i, j)
            for i, track in enumerate(current)
            for j, face in enumerate(faces)
            if (shared := overlap(track.looks[-1][1], face)) >= SAME_FACE
        ]
        free_tracks, free_faces = set(range(len(current))), set(range(len(faces)))
        for _, i, j in sorted(pairs, reverse=True):
            if i in free_tracks and j in free_faces:
                current[i].looks.append((frame, faces[j]))
                free_tracks.remove(i)
                free_faces.remove(j)
        new = [Track([(frame, faces[j])]) for j in sorted(free_faces)]
        tracks += new
        current += new
    return tracks


def _apart(faces: Sequence[Box]) -> list[Box]:
    """The faces without boxes that lie in larger ones, as a mouth is found now and then."""
    kept: list[Box] = []
    for face in sorted(faces, key=lambda face: face.width, reverse=True):
        x, y = face.centre
        if not any(box.left < x < box.right and box.top < y < box.bottom for box in kept):
            kept.append(face)
    return kept


def _is_real(track: Track) -> bool:
    """Whether it is a face: false boxes do not last."""
    num_looks = (track.end - 1 - track.start) / SAMPLED_EVERY + 1
    return len(track.looks) >= max(MIN_SEEN, MIN_SEEN_SHARE * num_looks)


def _cut(track: Track, scene: Scene, size: tuple[int, int], limits: Limits) -> Iterator[Segment]:
    """The takes of one face: all of its time, cut where it becomes too long or moves too far."""
    start = scene.start if track.start - scene.start < NEAR_EDGE else track.start
    end = scene.end if scene.end - track.end < NEAR_EDGE else track.end
    for part in _parts(_smoothed(track.looks), start, end, limits):
        for begin, until, faces in _resting(*part):
            crop = training_crop(faces, size)
            reason = None
            if until - begin < limits.min_seconds * RATE:
                reason = too_short(limits)
            elif crop.width < limits.min_size:
                reason = too_small(limits)
            yield Segment(begin, until, crop, reason)


def _smoothed(looks: Sequence[Seen]) -> list[Seen]:
    """The looks with medians of three: a single box that is off counts no more."""
    padded = [looks[0], *looks, looks[-1]]
    return [
        (frame, median_box([box for _, box in padded[i : i + 3]]))
        for i, (frame, _) in enumerate(looks)
    ]


def _parts(
    looks: Sequence[Seen], start: int, end: int, limits: Limits
) -> Iterator[tuple[int, int, list[Seen]]]:
    """Equal parts of the time from ``start`` to ``end`` that are not too long, with their looks."""
    num_parts = math.ceil((end - start) / (limits.max_seconds * RATE))
    edges = [start + (end - start) * part // num_parts for part in range(num_parts + 1)]
    for begin, until in pairwise(edges):
        inside = [look for look in looks if begin <= look[0] < until]
        if inside:
            yield begin, until, inside


def _resting(start: int, end: int, looks: Sequence[Seen]) -> Iterator[tuple[int, int, list[Box]]]:
    """The times, and the boxes, for which the crop need not grow too much."""
    faces: list[Box] = []
    for frame, box in looks:
        grown = [*faces, box]
        if faces and least_side(grown) > MAX_GROWTH * usual_side(grown):
            yield start, frame, faces
            start, grown = frame, [box]
        faces = grown
    yield start, end, faces
