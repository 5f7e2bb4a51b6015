"""Every number of every frame: what means are taken of, and ``frames.csv`` holds."""

from typing import NamedTuple

import numpy as np


class FrameTable(NamedTuple):
    """One row a frame, those of a clip together and in order."""

    clips: np.ndarray  # (N,) str
    identities: np.ndarray  # (N,) str
    frames: np.ndarray  # (N,) str: a name within the clip
    is_source: np.ndarray  # (N,) bool: the driving frame is the source itself
    values: dict[str, np.ndarray]  # column -> (N,) float64, NaN where there is no value
    missing: dict[str, np.ndarray]  # column -> (N,) str: why there is none, "" where there is
