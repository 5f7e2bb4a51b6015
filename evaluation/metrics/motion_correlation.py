"""Motion correlation: agreement of the keypoints' motion in a result and its driving clip."""

from collections.abc import Callable, Sequence

import numpy as np

from evaluation.metrics.interface import Frames
from modules.geometry import Keypoints

SINGLE = "a single frame has no motion"
STILL = "nothing moves in the driving clip, or in the result"


class MotionCorrelation:
    """Pearson's correlation of the displacements of keypoints since the first frame of a clip.

    Over all frames, points and coordinates of the clip together: 1 where the result moves as the
    driving clip does, to any scale; 0 where the one says nothing of the other.
    """

    def __init__(self, detect: Callable[[Sequence[np.ndarray]], Keypoints]) -> None:
        """Take ``detect``, which finds the keypoints of RGB uint8 pictures of one size."""
        self.detect = detect

    def observe(self, frames: Frames) -> np.ndarray:
        """Detect the keypoints in the real and the generated frames: (B, 2, K, 2)."""
        found = [self.detect(list(side)).positions for side in (frames.real, frames.generated)]
        return np.stack([positions.double().cpu().numpy() for positions in found], axis=1)

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        """Compute the correlation in a clip of N frames, (N, 2, K, 2), or NaN with a reason."""
        if len(observations) < 2:
            return {"motion": (np.nan, SINGLE)}
        real, generated = np.moveaxis(observations - observations[:1], 1, 0).reshape(2, -1)
        if real.std() == 0 or generated.std() == 0:
            return {"motion": (np.nan, STILL)}
        return {"motion": (float(np.corrcoef(real, generated)[0, 1]), "")}
