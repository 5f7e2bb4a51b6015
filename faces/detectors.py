"""Faces found in frames: by scikit-image's cascade, or by the detector of face-alignment.

A face is told by the square that the cascade puts around it: from the eyebrows to the chin.  What
another detector finds is brought to that form, so that crops do not depend on the detector.
"""

import logging
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from media.pictures import Box, Picture
from utils.errors import InputError

logger = logging.getLogger(__name__)

DetectorName = Literal["auto", "cascade", "face-alignment"]
SMALLEST = 24  # pixels: side of the smallest faces that the detectors know


class Face(NamedTuple):
    """A face in a frame."""

    box: Box  # a square, in pixels; it may stand out of the frame
    score: float | None = None  # how sure the detector is, where it says so


class FaceDetector(Protocol):
    """What finds the faces of frames."""

    name: DetectorName

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        """The faces of each frame (H, W, 3), RGB uint8; all frames are of one size."""
        ...


class DetectorUnavailable(InputError):
    """A detector that cannot be used here: its package or its weights are missing."""


class CascadeDetector:
    """scikit-image's cascade of local binary patterns for frontal faces: no download, no GPU.

    The steps are coarser than scikit-image's own, and a face needs fewer hits.  In 150 frames of
    256 x 144 with one face of about 75 pixels: 133 faces found and 16 false ones, 12 ms a frame;
    with its own steps 137 and 47, 36 ms.
    """

    name: DetectorName = "cascade"
    least_contrast = 3.0  # grey levels; patterns alone would be found in blurred walls as well

    def __init__(self, smallest: int = SMALLEST) -> None:
        """Faces of fewer than ``smallest`` pixels are not looked for."""
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self.smallest = smallest
        self.cascade = Cascade(lbp_frontal_face_cascade_filename())

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        return [self.find(frame) for frame in frames]

    def find(self, frame: Picture) -> list[Face]:
        """The faces of one frame."""
        side = min(frame.shape[:2])
        if side < self.smallest:
            return []
        found = self.cascade.detect_multi_scale(
            img=frame,
            scale_factor=1.15,
            step_ratio=1.5,
            min_size=(self.smallest, self.smallest),
            max_size=(side, side),
            min_neighbor_number=3,
        )
        places = ((float(box["c"]), float(box["r"]), float(box["width"])) for box in found)
        boxes = (Box(x, y, x + width, y + width) for x, y, width in places)
        return [Face(box) for box in boxes if _contrast(frame, box) >= self.least_contrast]


def _contrast(frame: Picture, box: Box) -> float:
    """The mean difference of neighbours, of 24 x 24 grey pixels: 5 to 20 in faces."""
    size = SMALLEST, SMALLEST
    grey = Image.fromarray(frame).convert("L").resize(size, Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(grey, dtype=np.float32)
    return float(sum(np.abs(np.diff(pixels, axis=axis)).mean() for axis in (0, 1)) / 2)


class FaceAlignmentDetector:
    """S3FD, the detector of the face-alignment package, which downloads its weights at first use.

    Its boxes reach from the hair to the chin.  VoxCeleb's crops are 1.2 times as high as they are
    (FOMM's preprocessing), and in such crops the cascade's square has 0.59 of the side.
    """

    name: DetectorName = "face-alignment"
    square = 0.59 * 1.2  # side of the cascade's square, as a fraction of the height of a box
    sure = 0.8  # score of a face, at least

    def __init__(self) -> None:
        """Raises DetectorUnavailable without the package or the weights."""
        try:
            import torch
            from face_alignment.detection.sfd import FaceDetector as S3FD

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self.network: Any = S3FD(device, filter_threshold=self.sure)
        except ImportError as error:
            raise DetectorUnavailable(
                f"{error}: pip install face-alignment, or give --detector cascade."
            ) from error
        except OSError as error:  # a failed download
            raise DetectorUnavailable(
                "face-alignment has no weights, which it downloads at its first use "
                f"({error}): go online once, or give --detector cascade."
            ) from error

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        import torch

        images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
        return [
            [self._face(*box) for box in boxes] for boxes in self.network.detect_from_batch(images)
        ]

    def _face(self, left: float, top: float, right: float, bottom: float, score: float) -> Face:
        x, y = Box(left, top, right, bottom).centre
        half = self.square * (bottom - top) / 2
        return Face(Box(*map(float, (x - half, y - half, x + half, y + half))), float(score))


def pick_detector(name: DetectorName) -> FaceDetector:
    """The detector of a name.  "auto": face-alignment's, or the cascade and a word in the log.

    Raises DetectorUnavailable where the one that is asked for cannot be used.
    """
    if name == "cascade":
        return CascadeDetector()
    try:
        return FaceAlignmentDetector()
    except DetectorUnavailable as error:
        if name != "auto":
            raise
        logger.info("Faces are found by scikit-image's cascade: %s", error)
        return CascadeDetector()
