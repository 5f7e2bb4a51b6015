"""A picture cut as training frames were, and the way back: frames become pictures again.

The cut has the proportions of the training's face_crop and is resized to a frame, as the training's
clips were.  Where it leaves the picture, the pixels at the border are repeated, so that the face is
as large as, and where, the network expects it.
"""

from math import ceil, floor
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from media.pictures import Box, Picture, resized
from utils.section import Section

REACH = 2  # of the bicubic kernel, in pixels of the smaller picture
FEATHER = 0.12  # of the cut's width and height, over which a pasted one fades in


Fraction = Annotated[float, Field(gt=0, lt=1)]


class FaceCropConfig(Section):
    """Section ``data.face_crop``: the cut that gave the frames, told by the faces in them.

    The face is what scikit-image's frontal face cascade finds: a square in the uncut video.
    """

    aspect: PositiveFloat = 1.0  # height / width of the cut before it was resized to a frame
    face_x: Fraction  # centre of the face, as a fraction of the frame's width
    face_y: Fraction  # and of its height
    face_width: Fraction  # of the frame's width

    def crop_around(self, face: Box) -> Box:
        """The cut that puts ``face`` where the training frames have it, in the same unit."""
        width = face.width / self.face_width
        height = self.aspect * width
        x, y = face.centre
        left, top = x - self.face_x * width, y - self.face_y * height
        return Box(left, top, left + width, top + height)


# VoxCeleb1 with the boxes of FOMM's preprocessing, which published networks were trained on: the
# median aspect of its 20,075 boxes.  Faces: medians over 209 clips of talking people cut square
# (0.503, 0.487 and 0.582 of the side), a square being such a box widened to its height.
PUBLISHED = FaceCropConfig(aspect=1.22, face_x=0.5, face_y=0.49, face_width=0.71)


class FaceCrop(NamedTuple):
    """What is cut out of a picture, and the size of the frames that it becomes."""

    box: Box  # in pixels of the picture; it may leave it
    size: tuple[int, int]  # height and width of a frame

    @classmethod
    def around(cls, face: Box, face_crop: FaceCropConfig, size: tuple[int, int]) -> "FaceCrop":
        """The cut that puts ``face`` where the training frames have theirs."""
        return cls(face_crop.crop_around(face), size)

    def frame(self, picture: Picture) -> Picture:
        """The cut as a frame of the network: (H, W, 3), flattened as the training frames are."""
        height, width = self.size
        margin_x = ceil(REACH * max(self.box.width / width, 1)) + 1
        margin_y = ceil(REACH * max(self.box.height / height, 1)) + 1
        left, top = floor(self.box.left) - margin_x, floor(self.box.top) - margin_y
        columns = np.arange(left, ceil(self.box.right) + margin_x)
        rows = np.arange(top, ceil(self.box.bottom) + margin_y)
        surroundings = picture.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")
        return resized(surroundings, self.size, self.box.shifted(-left, -top))

    def region(self, frame: Picture) -> Picture:
        """A frame in the proportions that its cut had, no side shorter than before, both even."""
        return resized(frame, self.region_size)

    @property
    def region_size(self) -> tuple[int, int]:
        """Height and width of a region."""
        height, width = self.size
        aspect = self.box.height / self.box.width
        wide = max(width, height / aspect)
        return 2 * round(aspect * wide / 2), 2 * round(wide / 2)

    def paste(self, frame: Picture, picture: Picture) -> Picture:
        """The picture with a frame at the place of its cut, faded in from the cut's edges.

        Of a picture with an odd side the last row or column is left out.
        """
        height, width = (side - side % 2 for side in picture.shape[:2])
        pasted = picture[:height, :width].copy()
        left, top = max(ceil(self.box.left), 0), max(ceil(self.box.top), 0)
        right, bottom = min(floor(self.box.right), width), min(floor(self.box.bottom), height)
        if left >= right or top >= bottom:
            return pasted
        within = Box(left, top, right, bottom).shifted(-self.box.left, -self.box.top)
        scale_y, scale_x = self.size[0] / self.box.height, self.size[1] / self.box.width
        new = resized(frame, (bottom - top, right - left), within.scaled(scale_x, scale_y))
        opacity = np.outer(
            fade(top, bottom, self.box.top, self.box.bottom, height),
            fade(left, right, self.box.left, self.box.right, width),
        )[..., None]
        old = pasted[top:bottom, left:right]
        old[:] = (old + opacity * (new.astype(np.float32) - old)).round().astype(np.uint8)
        return pasted


def fade(first: int, end: int, low: float, high: float, side: int) -> NDArray[np.float32]:
    """How much of a pasted cut is seen at the pixels from ``first`` to ``end``, in [0, 1].

    It begins with nothing at the edges of the cut, ``low`` and ``high``, and is flat where it is
    whole.  An edge at or beyond the border of the picture, 0 and ``side``, does not fade.
    """
    middles = np.arange(first, end) + 0.5
    distances = np.full(end - first, np.inf)
    if low > 0:
        distances = np.minimum(distances, middles - low)
    if high < side:
        distances = np.minimum(distances, high - middles)
    t = (distances / (FEATHER * (high - low))).clip(0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
