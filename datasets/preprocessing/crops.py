"""The fixed square around a face that moves, as training clips show it.

Boxes are squares around the face, as a detector finds them, in pixels of the video.
"""

from collections.abc import Sequence
from statistics import median

from faces.crop import FaceCropConfig
from media.pictures import Box

# The face in clips that were cut as VoxCeleb's are: the cascade's square in 657 frames of 219 such
# clips has these medians; 90 % of the widths lie from 0.40 to 0.68
TRAINING = FaceCropConfig(face_x=0.505, face_y=0.485, face_width=0.55)
MARGIN = 0.15  # of the face's width that a crop leaves beside it, wherever it moves


def training_crop(faces: Sequence[Box], size: tuple[int, int]) -> Box:
    """The square that shows a face, seen in these boxes, as training clips do.

    Its side follows from the median width of the boxes, its place from their extent; it grows where
    the face moves more than fits.  In a video of width and height ``size`` it is shifted inside,
    and made smaller only where that is not enough.
    """
    x, y = _extent(faces).centre
    half = TRAINING.face_width * max(usual_side(faces), least_side(faces)) / 2
    return TRAINING.crop_around(Box(x - half, y - half, x + half, y + half)).squared(*size)


def _extent(faces: Sequence[Box]) -> Box:
    left, top, right, bottom = zip(*faces, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def _width(faces: Sequence[Box]) -> float:
    return median(face.width for face in faces)


def usual_side(faces: Sequence[Box]) -> float:
    """Of the crop around a face that does not move."""
    return _width(faces) / TRAINING.face_width


def least_side(faces: Sequence[Box]) -> float:
    """Of a crop that holds the face wherever it moves."""
    extent = _extent(faces)
    return max(extent.width, extent.height) + 2 * MARGIN * _width(faces)
