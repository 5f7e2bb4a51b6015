"""Scores of pictures, compared with their formulas."""

import math

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from evaluation.metrics.interface import Frames
from evaluation.metrics.pixels import (
    FLAT,
    PICTURE_METRICS,
    PictureMetrics,
    Sharpness,
    gradient_energy,
    l1,
    psnr,
    psnr_published,
    score,
    ssim,
    ssim_published,
    to_pictures,
)
from tests.evaluation.real_frames import needs_clips, real_frames


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
    """Compute the definition by channel, without the border that the window overlaps."""

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


def test_psnr_reference_wraps_around_twice():
    truth = np.zeros((8, 9, 3), dtype=np.uint8)
    prediction = truth + np.uint8(20)  # 20 * 20 = 400, which is 144 in 8 bits
    assert psnr_published(prediction, truth) == pytest.approx(20 * math.log10(255 / 12))
    assert psnr_published(truth, prediction) == psnr_published(prediction, truth)  # -20 is 236
    assert psnr_published(truth + np.uint8(16), truth) == math.inf  # 256 is 0
    assert psnr_published(truth, truth) == math.inf


def test_psnr_reference_is_kind_to_pictures_that_differ_much():
    random = np.random.default_rng(0)
    prediction, truth = random.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert psnr(prediction, truth) < 10
    assert 26 < psnr_published(prediction, truth) < 32


def test_ssim_reference_follows_its_formula(pictures):
    """Compute the definition from the 49 pixels of every window."""
    values = []
    for channel in range(3):
        x, y = (picture[..., channel].astype(float) / 255 for picture in pictures)
        x, y = (sliding_window_view(z, (7, 7)).reshape(-1, 49) for z in (x, y))
        mean_x, mean_y = x.mean(axis=1), y.mean(axis=1)
        variance_x, variance_y = x.var(axis=1, ddof=1), y.var(axis=1, ddof=1)
        covariance = ((x - mean_x[:, None]) * (y - mean_y[:, None])).sum(axis=1) / 48
        similarity = (2 * mean_x * mean_y + 0.02**2) * (2 * covariance + 0.06**2)
        similarity /= mean_x**2 + mean_y**2 + 0.02**2
        similarity /= variance_x + variance_y + 0.06**2
        values.append(similarity.mean())
    assert ssim_published(*pictures) == pytest.approx(np.mean(values), abs=1e-9)


@needs_clips
def test_psnr_and_ssim_agree_with_torchmetrics_on_real_frames():
    """Picture by picture; its SSIM is averaged without the five pixels at the edges, where the
    window leaves the picture: torchmetrics reflects there, scikit-image leaves them out."""
    frames = real_frames(3)
    found = PictureMetrics(["psnr", "ssim"])(frames).values
    generated, real = (
        torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
        for images in (frames.generated, frames.real)
    )
    noise_ratio = peak_signal_noise_ratio(
        generated, real, data_range=1.0, dim=(1, 2, 3), reduction="none"
    )
    _, similarity = structural_similarity_index_measure(
        generated, real, sigma=1.5, data_range=1.0, reduction="none", return_full_image=True
    )
    np.testing.assert_allclose(found["psnr"], noise_ratio, rtol=1e-6)
    inside = similarity[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    np.testing.assert_allclose(found["ssim"], inside, rtol=1e-9)
    assert (inside < 0.99).all()


def test_the_wanted_columns_are_those_of_each_frame(pictures):
    prediction, truth = pictures
    frames = Frames(None, np.stack([truth, truth]), np.stack([prediction, truth]))
    for columns in (["psnr_published", "l1"], list(PICTURE_METRICS)):
        values, missing = PictureMetrics(columns)(frames)
        assert list(values) == columns
        assert missing == ["", ""]
        for column, found in values.items():
            function = PICTURE_METRICS[column]
            assert found.tolist() == [function(prediction, truth), function(truth, truth)]


def test_threads_change_nothing(monkeypatch, pictures):
    frames = Frames(None, *(np.stack([picture] * 5) for picture in pictures))
    alone = PictureMetrics()(frames).values
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = PictureMetrics()(frames).values
    assert {c: v.tolist() for c, v in alone.items()} == {c: v.tolist() for c, v in together.items()}


@pytest.mark.parametrize(("column", "window"), [("ssim", 11), ("ssim_published", 7)])
def test_frames_smaller_than_the_window_have_no_ssim(column, window):
    fitting = np.zeros((1, window, window + 3, 3), dtype=np.uint8)
    assert PictureMetrics([column])(Frames(None, fitting, fitting)).values[column] == [1]
    small = fitting[:, 1:]
    values, missing = PictureMetrics(["l1", column])(Frames(None, small, small))
    assert np.isnan(values[column]).tolist() == [True]
    assert "smaller than the window" in missing[0]
    assert values["l1"] == [0]


def test_images_become_rounded_8_bit_pictures():
    images = torch.tensor([-1.0, 0.0, 0.5, 0.999, 1.0, 2.0]).reshape(1, 1, 2, 3).expand(1, 3, 2, 3)
    assert to_pictures(images)[0, :, :, 0].tolist() == [[0, 0, 128], [255, 255, 255]]


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 40, 3), np.uint8)


def blurred(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))


def test_the_gradient_energy_is_that_of_a_slow_sum():
    picture = noise()
    luma = (picture @ [0.299, 0.587, 0.114]).round()
    down = [abs(luma[y + 1, x] - luma[y, x]) for y in range(23) for x in range(40)]
    across = [abs(luma[y, x + 1] - luma[y, x]) for y in range(24) for x in range(39)]
    expected = np.mean(down) + np.mean(across)
    assert gradient_energy(picture) == pytest.approx(expected, rel=1e-3)


def test_an_edge_weighs_as_much_as_it_is_high():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:, 2:] = 90
    assert gradient_energy(picture) == 90 / 3  # one of three steps across, none down


def test_a_blurred_result_is_less_sharp_and_the_real_frame_is_one():
    real = np.stack([noise(0), noise(1), np.full_like(noise(), 80)])
    generated = np.stack([noise(0), blurred(noise(1)), noise(2)])
    measured = Sharpness()(Frames(None, real, generated))
    same, soft, none = measured.values["sharpness"]
    assert same == 1
    assert 0 < soft < 0.3
    assert np.isnan(none)
    assert measured.missing == ["", "", FLAT]
