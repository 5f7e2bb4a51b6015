"""Protocols that metrics follow: of a batch of frames, of a clip, or of all frames together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import numpy as np
import torch

from utils.progress import stdout_to_stderr


class Frames(NamedTuple):
    """A batch of frames of one clip: RGB uint8, (B, H, W, 3) each."""

    source: np.ndarray | None  # (1, H, W, 3) where all frames have the same; None if not given
    real: np.ndarray  # the driving frames, which are the truth where the person is the same
    generated: np.ndarray
    landmarks: np.ndarray | None = None  # of the real ones, (B, 68, 2) pixels; None if not given


class Measured(NamedTuple):
    """Values of a metric for each frame of a batch, with reasons for those that are missing."""

    values: dict[str, np.ndarray]  # column -> (B,) float64; NaN where there is no value
    missing: list[str]  # (B,): why a frame is without a value, "" where it has all of them


class FrameMetric(Protocol):
    """Metric of single frames, which may fill several columns of the registry."""

    def __call__(self, frames: Frames) -> Measured:
        """Measure a batch of B frames."""
        ...


class ClipMetric(Protocol):
    """Metric of a clip, which is observed batch by batch and measured at its end."""

    def observe(self, frames: Frames) -> np.ndarray:
        """Extract the numbers that the metric needs of each frame: (B, ...) float64."""
        ...

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        """Compute the values of a clip by column from the observations of its N frames, (N, ...).

        Each is a number and "", or NaN and the reason why there is none.
        """
        ...


class FeatureExtractor(Protocol):
    """Network whose features of all frames together give a distance of two sets (FID)."""

    weights: Path

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Turn frames (N, H, W, 3) uint8 into features (N, D) float32."""
        ...


class Unavailable(RuntimeError):
    """The network of a metric is not available; the message says why, and what to do."""


@contextmanager
def downloaded(url: str, network: str) -> Iterator[Path]:
    """Name the file that torch.hub keeps of ``url`` to the library that loads a network from it.

    Whatever fails there (download, file, keys) raises Unavailable with the file that is wanted.
    """
    file = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(url).path).name)
    try:
        with stdout_to_stderr():
            yield file
    except Exception as error:  # what a damaged file raises has no common base
        reason = (str(error).splitlines() or [""])[0].rstrip(":. ")
        raise Unavailable(
            f"the weights of {network} cannot be loaded ({type(error).__name__}: {reason}): "
            f"download {url} to {file}."
        ) from error
