"""Find the 68 landmarks of faces by the face-alignment package.

Bulat & Tzimiropoulos, ICCV 2017.  The data that its weights were trained on restricts their use.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from faces.detectors import face_alignment_loading
from media.pictures import Pictures, channels_first
from modules.face_landmarks import NUM_LANDMARKS


class Landmarks(Protocol):
    """Detector of the landmarks of the first face of each frame."""

    def __call__(self, frames: Pictures) -> np.ndarray:
        """Find (N, 68, 2) pixels (x, y); NaN where there is no face."""
        ...


class NamedLandmarks(Landmarks, Protocol):
    """Landmark detector with a name and version to be stored beside the landmarks."""

    name: str


class FaceAlignmentLandmarks:
    """Landmarks by face-alignment's detector (S3FD) and landmark network (FAN)."""

    def __init__(self, device: str) -> None:
        """Load the networks.  Raises DetectorUnavailable where that is not possible."""
        with face_alignment_loading():
            import face_alignment

            self.network: Any = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D,
                flip_input=False,
                compile=False,
                device=device,
            )
        self.name = f"face-alignment {face_alignment.__version__}"

    def __call__(self, frames: Pictures) -> np.ndarray:
        """Find the landmarks of each frame in pixels (x, y): (N, 68, 2)."""
        boxes = self.network.face_detector.detect_from_batch(channels_first(frames))
        return np.stack([self.find(*pair) for pair in zip(frames, boxes, strict=True)])

    def find(self, frame: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """Find the landmarks of the first of the faces detected in one frame: (68, 2)."""
        if len(boxes) == 0:
            return np.full((NUM_LANDMARKS, 2), np.nan)
        (face,) = self.network.get_landmarks_from_image(frame, detected_faces=boxes[:1])
        return face
