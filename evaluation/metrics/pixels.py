"""L1, PSNR, SSIM and sharpness of a generated picture and the true one.

Pictures are 8-bit RGB, ``(H, W, 3)`` uint8, and values are counted in [0, 1]: the conventions of
``evaluation`` are those of scikit-image with its range and window spelled out.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from evaluation.metrics.interface import Frames, Measured


class Scores(NamedTuple):
    """Scores of one picture, or their means."""

    l1: float  # in [0, 1]
    psnr: float  # dB
    ssim: float  # at most 1


def score(prediction: np.ndarray, truth: np.ndarray) -> Scores:
    """Compute all scores of one picture (H, W, 3) uint8."""
    return Scores(l1(prediction, truth), psnr(prediction, truth), ssim(prediction, truth))


def l1(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute the mean absolute difference, in [0, 1]."""
    return float(np.abs(prediction / 255 - truth / 255).mean())


def psnr(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute the peak signal-to-noise ratio in dB; infinite for equal pictures."""
    if np.array_equal(prediction, truth):
        return float("inf")
    return float(peak_signal_noise_ratio(truth / 255, prediction / 255, data_range=1))


def ssim(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute the structural similarity of pictures (H, W, 3) (Wang et al. 2004), at most 1.

    Gaussian window of sigma 1.5, population covariance, mean over the channels.
    """
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


def psnr_published(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute PSNR in dB as in published tables: differences and squares wrap around in 8 bits.

    Infinite where the wrapped squares are all zero, as those of a difference of 16 are.
    """
    error = np.square(prediction - truth).mean()  # uint8 up to the mean
    return float(20 * np.log10(255 / np.sqrt(error))) if error else float("inf")


def ssim_published(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Compute SSIM, at most 1, as in published tables, with a range of 2 for values in [0, 1].

    Uniform window of 7 x 7, sample covariance.
    """
    similarity = structural_similarity(
        truth / 255, prediction / 255, win_size=7, channel_axis=2, data_range=2
    )
    return float(similarity)


PICTURE_METRICS = {
    "l1": l1,
    "psnr": psnr,
    "psnr_published": psnr_published,
    "ssim": ssim,
    "ssim_published": ssim_published,
}
SMALLEST = {"ssim": 11, "ssim_published": 7}  # the window: a Gaussian ends at 3.5 sigma
FLAT = "the real frame is flat"
TOO_SMALL = "the frame is smaller than the window of SSIM"


class PictureMetrics:
    """L1, PSNR and SSIM of B frames, in as many threads as torch uses.

    The filters of scikit-image let other threads run.
    """

    def __init__(self, columns: Sequence[str] = tuple(PICTURE_METRICS)) -> None:
        self.columns = columns
        self.threads = ThreadPoolExecutor(torch.get_num_threads())

    def __call__(self, frames: Frames) -> Measured:
        """Measure B frames; there is no value where they are smaller than the window."""
        values = {column: self.measure(column, frames) for column in self.columns}
        reasons = np.where(np.isnan(list(values.values())).any(axis=0), TOO_SMALL, "")
        return Measured(values, reasons.tolist())

    def measure(self, column: str, frames: Frames) -> np.ndarray:
        """Compute one column of B frames: (B,) float64, NaN where they are too small."""
        if min(frames.real.shape[1:3]) < SMALLEST.get(column, 1):
            return np.full(len(frames.real), np.nan)
        scores = self.threads.map(PICTURE_METRICS[column], frames.generated, frames.real)
        return np.array(list(scores))


class Sharpness:
    """Gradient energy of the result over that of the real frame: 1 is as sharp, 0 is flat."""

    def __call__(self, frames: Frames) -> Measured:
        real, generated = (
            np.array([gradient_energy(picture) for picture in pictures])
            for pictures in (frames.real, frames.generated)
        )
        ratio = np.divide(generated, real, out=np.full(len(real), np.nan), where=real > 0)
        return Measured({"sharpness": ratio}, np.where(real > 0, "", FLAT).tolist())


def gradient_energy(picture: np.ndarray) -> float:
    """Average the absolute differences of neighbours in 8-bit luma (BT.601), down plus across."""
    luma = np.asarray(Image.fromarray(picture).convert("L")).astype(np.int16)
    return float(sum(np.abs(np.diff(luma, axis=axis)).mean() for axis in (0, 1)))


def to_pictures(images: Tensor) -> np.ndarray:
    """Convert images (B, 3, H, W) in [0, 1] to 8-bit pictures (B, H, W, 3)."""
    pictures = images.detach().float().clamp(0, 1).mul(255).round().byte()
    return pictures.permute(0, 2, 3, 1).cpu().numpy()
