import numpy as np
import pytest
from PIL import Image, ImageFilter

from evaluation.metrics.interface import Frames
from evaluation.metrics.sharpness import FLAT, Sharpness, gradient_energy


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
