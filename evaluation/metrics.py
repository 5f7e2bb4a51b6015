"""How close a generated picture is to the true one.

Pictures are 8-bit RGB, ``(H, W, 3)`` uint8, and values are counted in [0, 1]: the conventions of
``evaluation`` are those of scikit-image with its range and window spelled out.
"""

from typing import NamedTuple

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor


class Scores(NamedTuple):
    """The scores of one picture, or their means."""

    l1: float  # in [0, 1]
    psnr: float  # dB
    ssim: float  # at most 1


def score(prediction: np.ndarray, truth: np.ndarray) -> Scores:
    """All scores of one picture."""
    return Scores(l1(prediction, truth), psnr(prediction, truth), ssim(prediction, truth))


def l1(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Mean absolute difference in [0, 1]."""
    return float(np.abs(prediction / 255 - truth / 255).mean())


def psnr(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite for equal pictures."""
    if np.array_equal(prediction, truth):
        return float("inf")
    return float(peak_signal_noise_ratio(truth / 255, prediction / 255, data_range=1))


def ssim(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian window of sigma 1.5, population
    covariance, mean over the channels."""
    similarity = structural_similarity(
        truth / 255,
        prediction / 255,
        channel_axis=2,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def to_pictures(images: Tensor) -> np.ndarray:
    """A batch (B, 3, H, W) in [0, 1] as 8-bit pictures, (B, H, W, 3)."""
    pictures = images.detach().float().clamp(0, 1).mul(255).round().byte()
    return pictures.permute(0, 2, 3, 1).cpu().numpy()
