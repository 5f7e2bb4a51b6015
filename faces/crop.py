"""Crop a face as in training, and undo it: frames become pictures again.

The crop has the proportions of ``data.face_crop`` and is resized to a frame, as the clips of the
training were.  Where it extends beyond the picture, the pixels at the border are repeated, so that
the face has the size and the place that the network expects.
"""

from math import ceil, floor
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from media.pictures import Box, Picture, resized
from utils.section import Section

REACH = 2  # of the bicubic kernel, in pixels of the smaller picture
FEATHER = 0.12  # of the crop's width and height, over which a pasted one fades in

Fraction = Annotated[float, Field(gt=0, lt=1)]


class FaceCropConfig(Section):
    """Section ``data.face_crop``: crop of the training frames, relative to the faces in them.

    A face is the square that scikit-image's frontal face cascade finds in the whole picture.
    """

    aspect: PositiveFloat = 1.0  # height / width of the crop before it was resized to a frame
    face_x: Fraction  # centre of the face, as a fraction of the frame's width
    face_y: Fraction  # and of its height
    face_width: Fraction  # of the frame's width

    def crop_around(self, face: Box) -> Box:
        """Place the crop so that ``face`` is where training frames have it, in the same unit."""
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
    """Crop of pictures to frames of the network, and the way back."""

    box: Box  # in pixels of the picture; it may extend beyond it
    size: tuple[int, int]  # height and width of a frame

    @classmethod
    def around(cls, face: Box, face_crop: FaceCropConfig, size: tuple[int, int]) -> "FaceCrop":
        """Place a crop so that ``face`` is where the training frames have theirs."""
        return cls(face_crop.crop_around(face), size)

    def frame(self, picture: Picture) -> Picture:
        """Crop a picture to a frame (H, W, 3), flattened as the training frames are."""
        height, width = self.size
        margin_x = ceil(REACH * max(self.box.width / width, 1)) + 1
        margin_y = ceil(REACH * max(self.box.height / height, 1)) + 1
        left, top = floor(self.box.left) - margin_x, floor(self.box.top) - margin_y
        columns = np.arange(left, ceil(self.box.right) + margin_x)
        rows = np.arange(top, ceil(self.box.bottom) + margin_y)
        surroundings = picture.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip")
        return resized(surroundings, self.size, self.box.shifted(-left, -top))

    def region(self, frame: Picture) -> Picture:
        """Resize a frame (H, W, 3) to the crop's proportions, no side shorter, both even."""
        return resized(frame, self.region_size)

    @property
    def region_size(self) -> tuple[int, int]:
        """Height and width of a region in pixels."""
        height, width = self.size
        aspect = self.box.height / self.box.width
        wide = max(width, height / aspect)
        return 2 * round(aspect * wide / 2), 2 * round(wide / 2)

    def paste(self, frame: Picture, picture: Picture) -> Picture:
        """Paste a frame into the picture (H, W, 3), faded in from the edges of the crop.

        The last row or column of a picture with an odd side is left out.
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
    """Opacity of a pasted crop at the pixels from ``first`` to ``end``, in [0, 1].

    It rises smoothly from 0 at the edges of the crop, ``low`` and ``high``, to 1.  An edge at or
    beyond the border of the picture, 0 and ``side``, does not fade.
    """
    middles = np.arange(first, end) + 0.5
    distances = np.full(end - first, np.inf)
    if low > 0:
        distances = np.minimum(distances, middles - low)
    if high < side:
        distances = np.minimum(distances, high - middles)
    t = (distances / (FEATHER * (high - low))).clip(0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
