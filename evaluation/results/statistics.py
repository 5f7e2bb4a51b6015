"""Means over frames, and how far they would move with other clips.

Frames of a clip are alike, so the clip is what is drawn again (the bootstrap over clusters; Efron
& Tibshirani, An Introduction to the Bootstrap, 1993): percentiles of the mean over all frames of
as many clips as there are, drawn with replacement.

A frame that is identical to the true one has an infinite PSNR, beside which no other would count:
such frames are counted, and means are of the others.
"""

from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
DRAWN_AT_ONCE = 2**22  # clips, which bounds the memory


class Estimate(NamedTuple):
    """The mean of a column."""

    mean: float | None  # None where no frame has a finite value
    interval: tuple[float, float] | None  # 95 %; None with fewer than two clips
    frames: int  # that have a finite value
    identical: int  # that have an infinite one


def estimate(values: np.ndarray, clips: np.ndarray, seed: int) -> Estimate:
    """The mean of ``values`` (N,), NaN where there is none, with its interval over ``clips``.

    ``clips`` (N,) says which clip a frame is of, as numbers or names.  Nothing but the arguments
    has an influence, the number of threads neither.
    """
    finite, identical = np.isfinite(values), int(np.isinf(values).sum())
    values, clips = values[finite], clips[finite]
    return Estimate(mean(values), bootstrap_interval(values, clips, seed), len(values), identical)


def mean(values: np.ndarray) -> float | None:
    """The plain mean of those numbers (N,) that are finite; None where there are none."""
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def bootstrap_interval(
    values: np.ndarray, clips: np.ndarray, seed: int
) -> tuple[float, float] | None:
    """Percentile interval of the mean of finite ``values`` (N,) over ``clips`` (N,)."""
    names, index = np.unique(clips, return_inverse=True)
    if len(names) < 2:
        return None
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    step = max(1, DRAWN_AT_ONCE // len(names))
    for start in range(0, RESAMPLES, step):
        size = (min(step, RESAMPLES - start), len(names))
        drawn = generator.integers(len(names), size=size)
        means[start : start + step] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    means.sort()
    tail = round(RESAMPLES * (1 - LEVEL) / 2)
    return float(means[tail - 1]), float(means[-tail])


def differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``b - a`` (N,), NaN where one of them is; equal infinities do not differ."""
    result = np.zeros(len(a))
    np.subtract(b, a, out=result, where=a != b)
    return result


def group_means(values: np.ndarray, groups: np.ndarray, num_groups: int) -> list[float | None]:
    """The mean of each group of ``values`` (N,); ``groups`` (N,) are numbers from 0."""
    there = ~np.isnan(values)
    values, groups = values[there], groups[there]
    parts = np.split(
        values[np.argsort(groups, kind="stable")],
        np.cumsum(np.bincount(groups, minlength=num_groups))[:-1],
    )
    return [mean(part) for part in parts]
