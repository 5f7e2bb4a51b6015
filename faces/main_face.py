"""Find the largest face of a picture or a video, robust to single false boxes.

The cascade's boxes scatter by a tenth of their size, and some hold no face: it is run several times
on each picture, and a face is what it finds most of the times.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faces.crop import FaceCrop
from faces.detectors import SMALLEST, CascadeDetector
from media.pictures import Box, Picture
from media.video import frames_at, probe

Item = TypeVar("Item")

# Pixels of a picture's longer side, in which faces are searched: small ones only without others
SIDES = ((280, 400), (640, 900))
VIEW = 2  # side of the surroundings of a face that are searched again, in sides of its box
VIEW_SIDES = (200, 256, 320)  # pixels to which they are resized
SMALLEST_IN_VIEW = 60  # pixels of a face's box there
SMALLEST_SHOWN = 12  # pixels of the picture's own: fewer show no face
QUICK_VIEW, QUICK_SIDE = 3, 120  # the same for a face that is followed, searched once
ALIKE = 1.6  # ratio of the widths of two boxes of one face, at most
NUM_FRAMES, FEW_FRAMES = 9, 5  # of a video, spread over its length
SMALL = 64  # pixels of a frame's longer side, to tell how bright it is
DIM = 0.75  # of the usual brightness of a face: darker ones are being faded in
SAME = 0.4  # intersection over union of two boxes of one face, at least


def main_face(picture: Picture, *, large_only: bool = False) -> Box | None:
    """Find the largest face in a picture, in its pixels; None where there is none.

    A face is found in half of the searches, of the picture and then of the face's surroundings.  In
    134 portraits these were 131 of the faces, and nothing else.
    """
    for sides in SIDES[:1] if large_only else SIDES:
        face = next(faces_at_sides(picture, sides), None)
        if face is not None:
            return face
    return None


def all_faces(picture: Picture) -> list[Box]:
    """Find the faces of a picture, in its pixels, the ``main_face`` first.

    Small ones are searched only where there are no others.
    """
    found = (list(faces_at_sides(picture, sides)) for sides in SIDES)
    return next(filter(None, found), [])


def faces_at_sides(picture: Picture, sides: Sequence[int]) -> Iterator[Box]:
    """Search a picture resized to these sides for faces, and confirm each, the largest first."""
    groups = grouped(search(picture, sides, SMALLEST))
    places = [median_box(boxes) for boxes in groups if len(boxes) >= len(sides)]
    for place in sorted(places, key=lambda box: box.width, reverse=True):
        face = face_at(place, picture)
        if face is not None and face.width >= SMALLEST_SHOWN:
            yield face


def face_at(place: Box, picture: Picture) -> Box | None:
    """Search again for the face around which a box was found, with its surroundings at one size.

    In small faces the cascade's boxes would be a quarter wider than in large ones, within which it
    finds further, smaller boxes.
    """
    x, y = place.centre
    half = VIEW * place.width / 2
    view = Box(x - half, y - half, x + half, y + half)
    surroundings = FaceCrop(view, (max(VIEW_SIDES),) * 2).frame(picture)
    scale = view.width / max(VIEW_SIDES)
    found = search(surroundings, VIEW_SIDES, SMALLEST_IN_VIEW)
    boxes = [box.scaled(scale, scale).shifted(view.left, view.top) for box in found]
    again = [box for box in boxes if overlap(box, place) >= SAME]
    return median_box(again) if len(again) >= len(VIEW_SIDES) else None


def seen_again(picture: Picture, place: Box) -> Box | None:
    """Search a face once, near the place and of about the size that it had; None where it is not.

    It takes a thirtieth of the time of ``main_face``, for pictures of a camera, and misses one face
    in ten.
    """
    x, y = place.centre
    half = QUICK_VIEW * place.width / 2
    view = Box(x - half, y - half, x + half, y + half)
    scale = view.width / QUICK_SIDE
    surroundings = FaceCrop(view, (QUICK_SIDE, QUICK_SIDE)).frame(picture)
    found = [face.box.scaled(scale, scale) for face in cascade(SMALLEST).find(surroundings)]
    alike = [box for box in found if 1 / ALIKE < box.width / place.width < ALIKE]
    boxes = [box.shifted(view.left, view.top) for box in alike]
    return max(boxes, key=lambda box: overlap(box, place), default=None)


class FacesOfVideo:
    """Main face of a video, folder or picture, searched in some of its frames alone."""

    def __init__(self, path: Path, among: range | None = None) -> None:
        """Use the frames with the numbers ``among``, or all; here the first of them is 0."""
        self.path = path
        self.numbers = range(probe(path).num_frames) if among is None else among
        self._indices = range(len(self.numbers))
        self._searched = False
        self._main: Box | None = None
        self._faces: dict[int, Box | None] = {}
        self._small: dict[int, Small] = {}

    def main(self) -> Box | None:
        """Find the main face: the median over frames spread over the length."""
        if not self._searched:
            self._searched = True
            some = spread(self._indices)
            self._look(some)
            self._main = median_of(self._faces[i] for i in some)
        return self._main

    def first(self) -> int:
        """Find the first frame that shows the main face about as brightly as others do.

        It is found by bisection between a frame with the face and one without; 0 where there is
        none.  Unless ``main`` was called before, only faces about as large as frames are found.
        """
        some, main = spread(self._indices, NUM_FRAMES if self._searched else FEW_FRAMES), self._main
        if not self._searched:
            main = next((face for i in some if (face := self._face(i)) is not None), None)
        if main is None:
            return 0
        self._look(some, for_faces=False)
        levels = [self._small[i].brightness(main) for i in some]
        least = DIM * median(level for level in levels if level >= max(levels) / 2)

        def shows_it(index: int) -> bool:
            face = self._face(index)
            is_there = face is not None and overlap(face, main) > 0
            return is_there and self._small[index].brightness(main) >= least

        place = next((place for place, index in enumerate(some) if shows_it(index)), 0)
        without, index = some[max(place - 1, 0)], some[place]
        while index - without > 1:
            middle = (without + index) // 2
            without, index = (without, middle) if shows_it(middle) else (middle, index)
        return index

    def _face(self, index: int) -> Box | None:
        self._look([index])
        return self._faces[index]

    def _look(self, indices: Sequence[int], *, for_faces: bool = True) -> None:
        """Search new frames, which are decoded together."""
        new = [i for i in indices if i not in (self._faces if for_faces else self._small)]
        frames = frames_at(self.path, [self.numbers[i] for i in new]) if new else []
        for index, frame in zip(new, frames, strict=True):
            self._small[index] = Small.of(frame)
            if for_faces:
                self._faces[index] = main_face(frame, large_only=not self._searched)


class Small(NamedTuple):
    """Frame in grey and of few pixels, which tells how bright its parts are."""

    grey: NDArray[np.uint8]
    scale: float  # its pixels per pixel of the frame

    @classmethod
    def of(cls, frame: Picture) -> "Small":
        image = Image.fromarray(frame).convert("L")
        scale = min(SMALL / max(image.size), 1)
        size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        return cls(np.asarray(image.resize(size, Image.Resampling.BOX)), scale)

    def brightness(self, box: Box) -> float:
        """Mean brightness of a box in the frame, 0 to 255."""
        left, top, right, bottom = (
            max(round(side), 0) for side in box.scaled(self.scale, self.scale)
        )
        part = self.grey[top : max(bottom, top + 1), left : max(right, left + 1)]
        return float(part.mean()) if part.size else 0.0


def spread(items: Sequence[Item], count: int = NUM_FRAMES) -> list[Item]:
    """Select some of the frames of a video, or of their numbers, at equal distances."""
    some = np.linspace(0, len(items) - 1, min(len(items), count)).round().astype(int)
    return [items[i] for i in some]


def median_face(pictures: Iterable[Picture]) -> Box | None:
    """Median over the main faces of pictures; None where none of them has one."""
    return median_of(map(main_face, pictures))


def median_of(found: Iterable[Box | None]) -> Box | None:
    """Median of the faces that were found; None where there are none."""
    faces = [box for box in found if box is not None]
    return median_box(faces) if faces else None


def search(picture: Picture, sides: Sequence[int], smallest: int) -> list[Box]:
    """Run the cascade on a picture at several sizes, each also mirrored."""
    image, detector = Image.fromarray(picture), cascade(smallest)
    found = []
    for side, mirrored in product(sides, (False, True)):
        scale = side / max(image.size)
        size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        shrunk = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
        for face in detector.find(np.ascontiguousarray(shrunk[:, ::-1]) if mirrored else shrunk):
            left, top, right, bottom = face.box
            box = Box(size[0] - right, top, size[0] - left, bottom) if mirrored else face.box
            found.append(box.scaled(image.width / size[0], image.height / size[1]))
    return found


@cache
def cascade(smallest: int) -> CascadeDetector:
    """Load the detector of faces of so many pixels or more."""
    return CascadeDetector(smallest)


def grouped(boxes: Sequence[Box]) -> list[list[Box]]:
    """Group boxes, the largest group first: each holds the boxes that overlap one of them."""
    left, groups = list(boxes), []
    while left:
        around = [[box for box in left if overlap(box, seed) >= SAME] for seed in left]
        groups.append(max(around, key=len))
        left = [box for box in left if box not in groups[-1]]
    return groups


def median_box(boxes: Sequence[Box]) -> Box:
    """Box whose every side is the median of theirs."""
    return Box(*map(median, zip(*boxes, strict=True)))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(width, 0) * max(height, 0)
    return shared / (one.width * one.height + other.width * other.height - shared)
