"""The 68 landmarks of faces, by the face-alignment package (Bulat & Tzimiropoulos, ICCV 2017).

Its weights are downloaded by the package itself at the first use; the data they were trained on
restricts their use.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from faces.detectors import DetectorUnavailable
from modules.face_landmarks import NUM_LANDMARKS
from utils.progress import stdout_to_stderr

Pictures = Sequence[np.ndarray] | np.ndarray  # (N, H, W, 3) uint8, RGB: of one size


class Landmarks(Protocol):
    """What finds landmarks: (N, 68, 2) pixels (x, y), of the first face of each frame.

    NaN where there is no face.
    """

    def __call__(self, frames: Pictures) -> np.ndarray: ...


class NamedLandmarks(Landmarks, Protocol):
    """A landmark detector whose name, with its version, stands beside what it found."""

    name: str


class FaceAlignmentLandmarks:
    """Landmarks by face-alignment's detector (S3FD) and landmark network (FAN)."""

    def __init__(self, device: str) -> None:
        """Raises DetectorUnavailable without the package or the weights."""
        try:
            import face_alignment

            kind = face_alignment.LandmarksType.TWO_D
            with stdout_to_stderr():
                self.network: Any = face_alignment.FaceAlignment(
                    kind, flip_input=False, compile=False, device=device
                )
        except ImportError as error:
            raise DetectorUnavailable(f"{error}: pip install face-alignment.") from error
        except OSError as error:  # a failed download
            raise DetectorUnavailable(
                f"face-alignment has no weights, which it downloads at its first use: {error}"
            ) from error
        self.name = f"face-alignment {face_alignment.__version__}"

    def __call__(self, frames: Pictures) -> np.ndarray:
        """The landmarks of each frame: (N, 68, 2)."""
        images = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
        boxes = self.network.face_detector.detect_from_batch(images)
        return np.stack([self.find(*pair) for pair in zip(frames, boxes, strict=True)])

    def find(self, frame: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
        """The landmarks of the first of the faces detected in one frame: (68, 2)."""
        if len(boxes) == 0:
            return np.full((NUM_LANDMARKS, 2), np.nan)
        (face,) = self.network.get_landmarks_from_image(frame, detected_faces=boxes[:1])
        return face
