"""Find faces in frames: by scikit-image's cascade, or by the detector of face-alignment.

A face is described by the square that the cascade puts around it: from the eyebrows to the chin.
Boxes of another detector are converted to it, so that crops do not depend on the detector.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from PIL import Image

from media.pictures import Box, Picture
from utils.errors import InputError
from utils.progress import stdout_to_stderr

logger = logging.getLogger(__name__)

DetectorName = Literal["auto", "cascade", "face-alignment"]
SMALLEST = 24  # pixels: side of the smallest faces that the detectors know


class Face(NamedTuple):
    """A face in a frame."""

    box: Box  # a square, in pixels; it may extend beyond the frame
    score: float | None = None  # confidence, where the detector states it


class FaceDetector(Protocol):
    """Detector of faces in frames."""

    name: DetectorName

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        """Find the faces of each frame (H, W, 3), RGB uint8; all frames are of one size."""
        ...


class DetectorUnavailable(InputError):
    """Error of a detector whose package or weights are missing here."""


class CascadeDetector:
    """Detector of frontal faces by scikit-image's cascade of local binary patterns, on the CPU.

    The steps are coarser than scikit-image's own, and a face needs fewer hits.  In 150 frames of
    256 x 144 with one face of about 75 pixels it finds 133 faces and 16 false ones, in 12 ms per
    frame; with scikit-image's steps 137 and 47, in 36 ms.
    """

    name: DetectorName = "cascade"
    least_contrast = 3.0  # grey levels; patterns alone would be found in blurred walls as well

    def __init__(self, smallest: int = SMALLEST) -> None:
        """Search for faces of ``smallest`` pixels or more."""
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self.smallest = smallest
        self.cascade = Cascade(lbp_frontal_face_cascade_filename())

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        return [self.find(frame) for frame in frames]

    def find(self, frame: Picture) -> list[Face]:
        """Find the faces of one frame (H, W, 3)."""
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
    """Mean difference of neighbouring pixels, of 24 x 24 in grey: 5 to 20 in faces."""
    size = SMALLEST, SMALLEST
    grey = Image.fromarray(frame).convert("L").resize(size, Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(grey, dtype=np.float32)
    return float(sum(np.abs(np.diff(pixels, axis=axis)).mean() for axis in (0, 1)) / 2)


@contextmanager
def face_alignment_loading(alternative: str = "") -> Iterator[None]:
    """Load a network of the face-alignment package, which downloads its weights at first use.

    Raises DetectorUnavailable, with the ``alternative``, without the package or the weights.
    """
    try:
        with stdout_to_stderr():
            yield
    except ImportError as error:
        raise DetectorUnavailable(f"{error}: pip install face-alignment{alternative}.") from error
    except OSError as error:  # a failed download
        raise DetectorUnavailable(
            "face-alignment has no weights, which it downloads at its first use "
            f"({error}): go online once{alternative}."
        ) from error


class FaceAlignmentDetector:
    """S3FD, the detector of the face-alignment package.

    Its boxes reach from the hair to the chin.  VoxCeleb's crops are 1.2 times as high as they are
    (FOMM's preprocessing), and in such crops the cascade's square has 0.59 of the side.
    """

    name: DetectorName = "face-alignment"
    square = 0.59 * 1.2  # side of the cascade's square, as a fraction of the height of a box
    sure = 0.8  # score of a face, at least

    def __init__(self) -> None:
        """Load the network.  Raises DetectorUnavailable where that is not possible."""
        with face_alignment_loading(", or give --detector cascade"):
            import torch
            from face_alignment.detection.sfd import FaceDetector as S3FD

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self.network: Any = S3FD(device, filter_threshold=self.sure)

    def __call__(self, frames: Sequence[Picture]) -> list[list[Face]]:
        from media.pictures import channels_first

        found = self.network.detect_from_batch(channels_first(frames))
        return [[self._face(*box) for box in boxes] for boxes in found]

    def _face(self, left: float, top: float, right: float, bottom: float, score: float) -> Face:
        x, y = Box(left, top, right, bottom).centre
        half = self.square * (bottom - top) / 2
        return Face(Box(*map(float, (x - half, y - half, x + half, y + half))), float(score))


def pick_detector(name: DetectorName) -> FaceDetector:
    """Load a detector; "auto" is face-alignment's, or else the cascade, which is logged.

    Raises DetectorUnavailable where the detector of that name is not available.
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
