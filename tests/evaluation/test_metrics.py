"""The scores against their formulas, written out."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from evaluation.metrics import l1, psnr, score, ssim, to_pictures


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (24, 40, 3), dtype=np.uint8)
    noise = random.integers(-60, 61, truth.shape)
    return (truth + noise).clip(0, 255).astype(np.uint8), truth


def test_equal_pictures_score_best(pictures):
    _, truth = pictures
    assert score(truth, truth) == (0.0, math.inf, pytest.approx(1.0))


def test_l1_and_psnr_of_a_constant_difference_are_exact():
    truth = np.full((8, 9, 3), 200, dtype=np.uint8)
    prediction = np.full((8, 9, 3), 10, dtype=np.uint8)  # 8-bit arithmetic would wrap around
    assert l1(prediction, truth) == pytest.approx(190 / 255)
    assert psnr(prediction, truth) == pytest.approx(-20 * math.log10(190 / 255))


def test_psnr_follows_its_formula(pictures):
    prediction, truth = (picture.astype(float) / 255 for picture in pictures)
    expected = -10 * math.log10(np.square(prediction - truth).mean())
    assert psnr(*pictures) == pytest.approx(expected)


def test_ssim_follows_its_formula(pictures):
    """The definition, channel by channel, without the border that the window overlaps."""

    def blur(channel: np.ndarray) -> np.ndarray:
        return gaussian_filter(channel, sigma=1.5, truncate=3.5)

    values = []
    for channel in range(3):
        x, y = (picture[..., channel].astype(float) / 255 for picture in pictures)
        mean_x, mean_y = blur(x), blur(y)
        variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
        covariance = blur(x * y) - mean_x * mean_y
        similarity = (2 * mean_x * mean_y + 0.01**2) * (2 * covariance + 0.03**2)
        similarity /= mean_x**2 + mean_y**2 + 0.01**2
        similarity /= variance_x + variance_y + 0.03**2
        values.append(similarity[5:-5, 5:-5].mean())
    assert ssim(*pictures) == pytest.approx(np.mean(values), abs=1e-9)


def test_images_become_rounded_8_bit_pictures():
    images = torch.tensor([-1.0, 0.0, 0.5, 0.999, 1.0, 2.0]).reshape(1, 1, 2, 3).expand(1, 3, 2, 3)
    assert to_pictures(images)[0, :, :, 0].tolist() == [[0, 0, 128], [255, 255, 255]]
