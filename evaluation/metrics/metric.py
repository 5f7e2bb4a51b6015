"""What a metric is: a function of a batch of frames, or of a whole clip."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Frames(NamedTuple):
    """A batch of frames of one clip: RGB uint8, (B, H, W, 3) each."""

    source: np.ndarray | None  # (1, H, W, 3) where all frames have the same; None if not given
    real: np.ndarray  # the driving frames, which are the truth where the person is the same
    generated: np.ndarray
    landmarks: np.ndarray | None = None  # of the real ones, (B, 68, 2) pixels; None if not given


class Measured(NamedTuple):
    """What a metric finds in a batch."""

    values: dict[str, np.ndarray]  # column -> (B,) float64; NaN where there is no value
    missing: list[str]  # (B,): why a frame is without a value, "" where it has all of them


class Metric(Protocol):
    """Measures a batch; one object may fill several columns, those of ``columns.COLUMNS``."""

    def __call__(self, frames: Frames) -> Measured: ...


class ClipMetric(Protocol):
    """Measures a clip, of which it looks at one batch after the other.

    One object may fill several columns.
    """

    columns: Sequence[str]

    def look(self, frames: Frames) -> np.ndarray:
        """What it needs of each frame of a batch: (B, ...) float64."""
        ...

    def measure(self, seen: np.ndarray) -> dict[str, tuple[float, str]]:
        """The values of a clip from what was seen of its frames, (N, ...), by column.

        Each is a number and "", or NaN and why there is none.
        """
        ...


class Unavailable(RuntimeError):
    """The network of a metric cannot be had; the message says why, and what to do."""
