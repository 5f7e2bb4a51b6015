"""The face that a picture or a video shows largest, found so that single false boxes do not matter.

The cascade's boxes scatter by a tenth of their size, and some hold no face: it is asked several
times about each picture, and what it finds most of the times counts.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np
from PIL import Image

from datasets.faces import SMALLEST, CascadeDetector
from datasets.geometry import Box
from datasets.pictures import Picture
from datasets.training_crop import TrainingCrop
from datasets.video import frames_at, probe

Item = TypeVar("Item")

# Pixels of a picture's longer side, in which faces are looked for: small ones only where there are
# no others
SIDES = ((280, 400), (640, 900))
VIEW = 2  # side of what is looked at around a face, in sides of its box
VIEW_SIDES = (200, 256, 320)  # pixels to which that is brought
SMALLEST_IN_VIEW = 60  # pixels of a face's box there
SMALLEST_SHOWN = 12  # pixels of the picture's own: fewer show no face
NUM_FRAMES = 9  # of a video, spread over its length
SAME = 0.4  # intersection over union of two boxes of one face, at least


def main_face(picture: Picture) -> Box | None:
    """The largest face in a picture, in its pixels; None where there is none.

    A face is what half of the looks find, at the picture and then at the face.  In 134 portraits
    that were 131 of the faces, and nothing else.
    """
    for sides in SIDES:
        groups = grouped(looks(picture, sides, SMALLEST))
        places = [median_box(boxes) for boxes in groups if len(boxes) >= len(sides)]
        for place in sorted(places, key=lambda box: box.width, reverse=True):
            face = face_at(place, picture)
            if face is not None and face.width >= SMALLEST_SHOWN:
                return face
    return None


def face_at(place: Box, picture: Picture) -> Box | None:
    """The face around which a box was found, looked for again with its surroundings at one size.

    In small faces the cascade's boxes would be a quarter wider than in large ones, within which it
    finds further, smaller boxes.
    """
    x, y = place.centre
    half = VIEW * place.width / 2
    view = Box(x - half, y - half, x + half, y + half)
    surroundings = TrainingCrop(view, (max(VIEW_SIDES),) * 2).frame(picture)
    scale = view.width / max(VIEW_SIDES)
    found = looks(surroundings, VIEW_SIDES, SMALLEST_IN_VIEW)
    boxes = [box.scaled(scale, scale).shifted(view.left, view.top) for box in found]
    again = [box for box in boxes if overlap(box, place) >= SAME]
    return median_box(again) if len(again) >= len(VIEW_SIDES) else None


def main_face_of_video(path: Path, among: range | None = None) -> Box | None:
    """Where a video, folder or picture has its main face: the median over some of its frames.

    Some of those with the numbers ``among``, or of all.
    """
    numbers = range(probe(path).num_frames) if among is None else among
    return median_face(frames_at(path, spread(numbers)))


def spread(items: Sequence[Item]) -> list[Item]:
    """Some of the frames of a video, or of their numbers: those in which its face is looked for."""
    some = np.linspace(0, len(items) - 1, min(len(items), NUM_FRAMES)).round().astype(int)
    return [items[i] for i in some]


def median_face(pictures: Iterable[Picture]) -> Box | None:
    """The median over the main faces of pictures; None where none of them has one."""
    faces = [box for box in map(main_face, pictures) if box is not None]
    return median_box(faces) if faces else None


def looks(picture: Picture, sides: Sequence[int], smallest: int) -> list[Box]:
    """What the cascade finds in a picture at several sizes, looking twice: also in the mirror."""
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
    """The detector of faces of so many pixels or more."""
    return CascadeDetector(smallest)


def grouped(boxes: Sequence[Box]) -> list[list[Box]]:
    """The boxes in groups, the largest first: each is of boxes that lie over one of them."""
    left, groups = list(boxes), []
    while left:
        around = [[box for box in left if overlap(box, seed) >= SAME] for seed in left]
        groups.append(max(around, key=len))
        left = [box for box in left if box not in groups[-1]]
    return groups


def median_box(boxes: Sequence[Box]) -> Box:
    """The box whose every side is the median of theirs."""
    return Box(*map(median, zip(*boxes, strict=True)))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(width, 0) * max(height, 0)
    return shared / (one.width * one.height + other.width * other.height - shared)
