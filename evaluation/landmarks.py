"""The 68 landmarks of faces, by the face-alignment package (Bulat & Tzimiropoulos, ICCV 2017).

Its weights are downloaded by the package itself at the first use; the data they were trained on
restricts their use.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from evaluation.metric import Unavailable

NUM_LANDMARKS = 68


class Landmarks(Protocol):
    """What finds landmarks: RGB uint8 frames (H, W, 3) -> (N, 68, 2) pixels as (x, y).

    The first face of each frame; NaN where there is none.
    """

    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray: ...


class FaceAlignmentLandmarks:
    """Landmarks by face-alignment's detector (S3FD) and landmark network (FAN)."""

    def __init__(self, device: str) -> None:
        """Raises Unavailable without the package or the weights."""
        try:
            from face_alignment import FaceAlignment, LandmarksType

            self.network: Any = FaceAlignment(
                LandmarksType.TWO_D, flip_input=False, compile=False, device=device
            )
        except (ImportError, OSError) as error:  # a failed download is an OSError
            raise Unavailable(f"{type(error).__name__}: {error}") from error

    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """The landmarks of each frame: (N, 68, 2)."""
        return np.stack([self.find(frame) for frame in frames])

    def find(self, frame: np.ndarray) -> np.ndarray:
        """The landmarks of the first face of one frame: (68, 2)."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No faces were detected")
            faces = self.network.get_landmarks_from_image(frame)
        return faces[0] if faces else np.full((NUM_LANDMARKS, 2), np.nan)
