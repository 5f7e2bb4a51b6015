"""Means over frames, with intervals that say how far they would move with other clips.

Frames of a clip are alike, so the clip is what is drawn again (the bootstrap over clusters; Efron
& Tibshirani, An Introduction to the Bootstrap, 1993): percentiles of the mean over all frames of
as many clips as there are, drawn with replacement.

A frame that is identical to the true one has an infinite PSNR, beside which no other would count:
such frames are counted, and means are of the others.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

RESAMPLES = 2000
LEVEL = 0.95
DRAWN_AT_ONCE = 2**22  # clips, which bounds the memory


class Estimate(NamedTuple):
    """Mean of a column with its interval."""

    mean: float | None  # None where no frame has a finite value
    interval: tuple[float, float] | None  # 95 %; None with fewer than two clips
    frames: int  # that have a finite value
    identical: int  # that have an infinite one


def estimate(values: np.ndarray, clips: np.ndarray, seed: int) -> Estimate:
    """Estimate the mean of ``values`` (N,), NaN where there is none, and its interval.

    ``clips`` (N,) says which clip a frame is of, as numbers or names.  Nothing but the arguments
    has an influence, the number of threads neither.
    """
    finite, identical = np.isfinite(values), int(np.isinf(values).sum())
    values, clips = values[finite], clips[finite]
    return Estimate(mean(values), bootstrap_interval(values, clips, seed), len(values), identical)


def mean(values: np.ndarray) -> float | None:
    """Average those numbers (N,) that are finite; None where there are none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def bootstrap_interval(
    values: np.ndarray, clips: np.ndarray, seed: int
) -> tuple[float, float] | None:
    """Compute the percentile interval of the mean of finite ``values`` (N,) over ``clips`` (N,)."""
    index, names = pd.factorize(clips)
    if len(names) < 2:
        return None
    from scipy.stats import bootstrap

    low, high = bootstrap(
        (np.bincount(index, weights=values), np.bincount(index)),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, DRAWN_AT_ONCE // len(names)),
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(low), float(high)


def differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Subtract: ``b - a`` (N,), NaN where one of them is; equal infinities do not differ."""
    result = np.zeros(len(a))
    np.subtract(b, a, out=result, where=a != b)
    return result
