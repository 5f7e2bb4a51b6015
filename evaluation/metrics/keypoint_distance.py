"""AKD and MKR: distance of the landmarks of a face from the true ones, and rate of no face."""

import numpy as np

from evaluation.metrics.interface import Frames, Measured
from evaluation.metrics.landmarks import NO_FACE, NO_REAL_FACE, has_face
from faces.landmarks import Landmarks

SIZE = 256  # distances are pixels of frames of this height


class KeypointDistance:
    """Distance of the landmarks of the real and the generated face, in pixels at 256.

    ``akd`` is the mean of the Euclidean distance over the points, ``akd_published`` that of the
    absolute difference over their coordinates; ``mkr`` is 1 where only the real frame has a face
    and 0 where both have one, so that its mean is the missing keypoint rate.
    """

    def __init__(self, landmarks: Landmarks) -> None:
        self.landmarks = landmarks

    def __call__(self, frames: Frames) -> Measured:
        real, generated = self.landmarks(frames.real), self.landmarks(frames.generated)
        difference = (generated - real) * (SIZE / frames.real.shape[1])  # (B, 68, 2)
        in_real, in_generated = has_face(real), has_face(generated)
        values = {
            "akd": np.linalg.norm(difference, axis=2).mean(axis=1).astype(np.float64),
            "akd_published": np.abs(difference).mean(axis=(1, 2)).astype(np.float64),
            "mkr": np.where(in_real, ~in_generated, np.nan),
        }
        reasons = np.select([~in_real, ~in_generated], [NO_REAL_FACE, NO_FACE], default="")
        return Measured(values, reasons.tolist())
