"""Where training frames were cut out of their videos, so that other pictures can be cut alike.

A frame is square, but the box that it was cut from need not be: VoxCeleb's published boxes are
higher than wide, which flattens their faces by about a fifth.
"""

from typing import Annotated, NamedTuple

from pydantic import Field, PositiveFloat

from utils.section import Section

Fraction = Annotated[float, Field(gt=0, lt=1)]


class Box(NamedTuple):
    """A rectangle, in pixels or in fractions of a picture; ``right`` and ``bottom`` lie outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, x: float, y: float) -> "Box":
        """The box in another unit."""
        return Box(self.left * x, self.top * y, self.right * x, self.bottom * y)

    def shifted(self, x: float, y: float) -> "Box":
        """The box moved to the right and down."""
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def within(self, width: float, height: float) -> "Box":
        """The box shifted into a picture, and cut off where it is larger than that."""
        left = min(max(self.left, 0), max(width - self.width, 0))
        top = min(max(self.top, 0), max(height - self.height, 0))
        return Box(left, top, min(left + self.width, width), min(top + self.height, height))

    def squared(self, width: float, height: float) -> "Box":
        """The smallest square around the box, shifted into a picture of this size.

        Where the picture is too small for it, its side is the shorter one of the picture.
        """
        half = min(max(self.width, self.height), width, height) / 2
        x, y = self.centre
        return Box(x - half, y - half, x + half, y + half).within(width, height)


class Geometry(Section):
    """Section ``data.geometry``: the cut that gave the frames, told by the faces in them.

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
PUBLISHED = Geometry(aspect=1.22, face_x=0.5, face_y=0.49, face_width=0.71)
