"""The 68 landmarks of faces, by the face-alignment package (Bulat & Tzimiropoulos, ICCV 2017).

Its weights are downloaded by the package itself at the first use; the data they were trained on
restricts their use.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from evaluation.metric import Unavailable

NUM_LANDMARKS = 68

NO_REAL_FACE = "no face in the real frame"  # why a metric has no value
NO_FACE = "no face in the result"

Pictures = Sequence[np.ndarray] | np.ndarray  # (N, H, W, 3) uint8, RGB: of one size


class Landmarks(Protocol):
    """What finds landmarks: (N, 68, 2) pixels (x, y), of the first face of each frame.

    NaN where there is no face.
    """

    def __call__(self, frames: Pictures) -> np.ndarray: ...


class FaceAlignmentLandmarks:
    """Landmarks by face-alignment's detector (S3FD) and landmark network (FAN)."""

    def __init__(self, device: str) -> None:
        """Raises Unavailable without the package or the weights."""
        try:
            import face_alignment

            self.network: Any = face_alignment.FaceAlignment(
                face_alignment.LandmarksType.TWO_D, flip_input=False, compile=False, device=device
            )
        except ImportError as error:
            raise Unavailable(f"{error}: pip install face-alignment.") from error
        except OSError as error:  # a failed download
            raise Unavailable(
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


class Remembered:
    """Landmarks that keeps what it found in the last arrays of frames, told apart by identity.

    Several metrics ask for the same arrays, which nobody changes.
    """

    def __init__(self, landmarks: Landmarks, capacity: int = 4) -> None:
        self.landmarks = landmarks
        self.capacity = capacity
        self.found: OrderedDict[int, tuple[Pictures, np.ndarray]] = OrderedDict()

    def __call__(self, frames: Pictures) -> np.ndarray:
        if id(frames) not in self.found:
            self.found[id(frames)] = (frames, self.landmarks(frames))  # held: its id stays its own
        self.found.move_to_end(id(frames))
        if len(self.found) > self.capacity:
            self.found.popitem(last=False)
        return self.found[id(frames)][1]


def has_face(landmarks: np.ndarray) -> np.ndarray:
    """Which of the landmarks (N, 68, 2) are those of a face: (N,) bool."""
    return ~np.isnan(landmarks).any(axis=(1, 2))
