"""FID: the Fréchet distance of Inception features (Heusel et al., NeurIPS 2017).

The network is torch-fidelity's port of the TensorFlow one, which the literature uses, with its own
way of resizing; torch-fidelity downloads the weights at the first use.  The distance is that of
torchmetrics.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from evaluation.metrics.interface import Unavailable, downloaded
from media.pictures import channels_first

CHUNK = 16  # frames that go through the network together, which bounds the memory
BLOCK = 512  # rows of features that are added up together


class InceptionFeatures:
    """Inception network up to its last pooling, which gives 2048 features."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        """Load the network; raises Unavailable without torch-fidelity or the weights."""
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import (
                URL_INCEPTION_V3,
                FeatureExtractorInceptionV3,
            )
        except ImportError as error:
            raise Unavailable(f"{error}: pip install torch-fidelity.") from error
        with downloaded(URL_INCEPTION_V3, "the Inception network of FID") as self.weights:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], verbose=False)
        self.network = network.to(device).eval()
        self.device = device

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Compute features (N, 2048) float32 of frames (N, H, W, 3) uint8 of any size."""
        features = np.empty((len(frames), 2048), np.float32)
        for start in range(0, len(frames), CHUNK):
            chunk = channels_first(frames[start : start + CHUNK], self.device)
            (found,) = self.network(chunk)
            features[start : start + CHUNK] = found.cpu().numpy()
        return features


class PrecomputedFeatures(nn.Identity):
    """Stand-in for the network in torchmetrics, which gets features in the place of images."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def frechet_distance(batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """Compute the distance of two sets of features, in batches (real, generated), (N, D) each.

        |m_r - m_g|^2 + tr(C_r + C_g - 2 (C_r C_g)^(1/2))

    In float64 and on one thread, with the same rows always added up together: the result does not
    depend on how the rows are batched.  Memory does not grow with the number of batches.  Raises
    Unavailable for fewer than two rows of either set, or without torchmetrics.
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance
    except ImportError as error:
        raise Unavailable(f"{error}: pip install torchmetrics.") from error

    with one_thread():
        distance, counts = None, {True: 0, False: 0}
        for is_real, rows in in_blocks(batches):
            if distance is None:
                distance = FrechetInceptionDistance(PrecomputedFeatures(rows.shape[1]))
            distance.update(torch.tensor(rows, dtype=torch.float64), real=is_real)
            counts[is_real] += len(rows)
        if distance is None or min(counts.values()) < 2:
            raise Unavailable(
                f"the Fréchet distance needs at least two frames of each kind, and there are "
                f"{counts[True]} real and {counts[False]} generated ones."
            )
        return max(0.0, distance.compute().item())  # rounding may leave equal sets below zero


def in_blocks(
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
) -> Iterator[tuple[bool, np.ndarray]]:
    """Yield (is real, rows) of both sides in blocks of ``BLOCK`` rows (N, D), the last shorter."""
    held: dict[bool, np.ndarray] = {}
    for batch in batches:
        for is_real, rows in zip((True, False), batch, strict=True):
            rest = np.concatenate([held[is_real], rows]) if is_real in held else rows
            while len(rest) >= BLOCK:
                yield is_real, rest[:BLOCK]
                rest = rest[BLOCK:]
            held[is_real] = rest
    yield from ((is_real, rest) for is_real, rest in held.items() if len(rest))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run linear algebra on one thread: several round differently, and wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
