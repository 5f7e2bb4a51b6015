"""Metrics of clips: how a result moves as its driving clip does, frame by frame.

Motion correlation compares keypoints; expression transfer mouth opening and width, eye opening and
brow height (``modules.face_landmarks``).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from evaluation.metrics.interface import Frames
from faces.landmarks import Landmarks
from modules.face_landmarks import Expressions, measure_expressions
from modules.geometry import Keypoints

COLUMNS = tuple(
    f"{name}_{statistic}" for name in Expressions._fields for statistic in ("gain", "corr")
)

MIN_FRAMES = 10  # with a face in both
# Least standard deviations of a driving face that makes an expression, rather than being measured
# with some noise; in distances of the outer corners of the eyes.
MOVES = {"mouth": 0.012, "width": 0.012, "eyes": 0.010, "brows": 0.010}
STILL = 1e-4  # standard deviation up to which a result does not move: its correlation is 0

SINGLE_FRAME = "a single frame has no motion"
NOTHING_MOVES = "nothing moves in the driving clip, or in the result"
NO_DRIVING_FACE = "no face in the driving clip, or no landmarks of it"
FEW_FRAMES = f"fewer than {MIN_FRAMES} frames with a face in both"
UNMOVED = "the driving face moves too little there"


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
            return {"motion": (np.nan, SINGLE_FRAME)}
        real, generated = np.moveaxis(observations - observations[:1], 1, 0).reshape(2, -1)
        if real.std() == 0 or generated.std() == 0:
            return {"motion": (np.nan, NOTHING_MOVES)}
        return {"motion": (float(np.corrcoef(real, generated)[0, 1]), "")}


class ExpressionTransfer:
    """Gain and correlation of each expression of a result, over the frames of a clip.

    The gain is the slope of the result's expression on the driving face's: 1 where it goes as far,
    0 where the result does not move.  An offset cancels in both, so that they are the same relative
    to the first frame, and another person's neutral face does not matter.  An expression that the
    driving face does not make has neither.
    """

    def __init__(self, landmarks: Landmarks) -> None:
        self.landmarks = landmarks

    def observe(self, frames: Frames) -> np.ndarray:
        """Measure the expressions of the real and generated faces: (B, 2, 4), NaN without a face.

        Landmarks of the real frames that are given are not looked for.
        """
        real = self.landmarks(frames.real) if frames.landmarks is None else frames.landmarks
        sides = (real, self.landmarks(frames.generated))
        return np.stack([expressions(side) for side in sides], axis=1)

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        """Compute gains and correlations of a clip of N frames, (N, 2, 4), or NaN with a reason."""
        return compare_expressions(observations[:, 0], observations[:, 1])


def expressions(landmarks: np.ndarray) -> np.ndarray:
    """Measure the four expressions of faces (B, 68, 2): (B, 4) in the order of ``Expressions``."""
    measured = measure_expressions(torch.from_numpy(np.asarray(landmarks, np.float64)))
    return torch.stack(measured, dim=1).numpy()


def compare_expressions(driving: np.ndarray, result: np.ndarray) -> dict[str, tuple[float, str]]:
    """Compute gain and correlation of expressions (N, 4) over frames that have a face in both.

    By column; NaN with the reason where the driving face does not make an expression, or there are
    too few frames.
    """
    there = np.isfinite(driving + result).all(axis=1)
    if there.sum() < MIN_FRAMES:
        faceless = not np.isfinite(driving).all(axis=1).any()
        reason = NO_DRIVING_FACE if faceless else FEW_FRAMES
        return dict.fromkeys(COLUMNS, (np.nan, reason))
    found: dict[str, tuple[float, str]] = {}
    for i, (name, least) in enumerate(MOVES.items()):
        x, y = driving[there, i], result[there, i]
        moves = x.std() >= least
        gain, correlation = gain_and_correlation(x, y) if moves else (np.nan, np.nan)
        reason = "" if moves else UNMOVED
        found[f"{name}_gain"], found[f"{name}_corr"] = (gain, reason), (correlation, reason)
    return found


def gain_and_correlation(driving: np.ndarray, result: np.ndarray) -> tuple[float, float]:
    """Compute the slope of a result (N,) on the driving values (N,), and Pearson's correlation.

    The correlation is 0 where the result does not move.
    """
    covariance = ((driving - driving.mean()) * (result - result.mean())).mean()
    moves = result.std() > STILL
    correlation = covariance / (driving.std() * result.std()) if moves else 0.0
    return float(covariance / driving.var()), float(correlation)
