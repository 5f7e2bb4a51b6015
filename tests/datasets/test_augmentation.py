import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from datasets.augmentation import AugmentationConfig, augment, jitter, shift_hue

FLIPS_ONLY = AugmentationConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
COLOURS_ONLY = AugmentationConfig(horizontal_flip=False, time_flip=False)


def random_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_equal_draws_give_equal_pairs_whatever_the_global_state():
    source, driving = random_images(2, 3, 24, 32)
    first = augment(source, driving, AugmentationConfig(), np.random.default_rng(5))
    torch.manual_seed(1)
    again = augment(source, driving, AugmentationConfig(), np.random.default_rng(5))
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_both_frames_get_the_same_change():
    image = random_images(3, 24, 32)
    for seed in range(8):
        source, driving = augment(image, image, AugmentationConfig(), np.random.default_rng(seed))
        torch.testing.assert_close(source, driving, rtol=0, atol=0)
        assert 0 <= source.min() <= source.max() <= 1
        assert source.shape == image.shape


def test_all_four_flips_occur_equally_often():
    source, driving = random_images(2, 3, 4, 6)
    draws = np.random.default_rng(0)
    counts = {"none": 0, "mirrored": 0, "exchanged": 0, "both": 0}
    for _ in range(400):
        pair = torch.stack(augment(source, driving, FLIPS_ONLY, draws))
        for name, expected in {
            "none": torch.stack([source, driving]),
            "mirrored": torch.stack([source, driving]).flip(-1),
            "exchanged": torch.stack([driving, source]),
            "both": torch.stack([driving, source]).flip(-1),
        }.items():
            counts[name] += torch.equal(pair, expected)
    assert sum(counts.values()) == 400
    assert min(counts.values()) > 70


def test_nothing_switched_on_changes_nothing():
    nothing = FLIPS_ONLY.model_copy(update={"horizontal_flip": False, "time_flip": False})
    source, driving = random_images(2, 3, 8, 8)
    augmented = augment(source, driving, nothing, np.random.default_rng(0))
    torch.testing.assert_close(augmented, (source, driving), rtol=0, atol=0)


def test_the_colour_change_is_as_strong_as_configured():
    grey = torch.full((1, 3, 4, 4), 0.5)
    only_brightness = FLIPS_ONLY.model_copy(update={"brightness": 0.1})
    draws = np.random.default_rng(0)
    values = [jitter(grey, only_brightness, draws)[0, 0, 0, 0].item() for _ in range(300)]
    assert 0.45 <= min(values) < 0.455
    assert 0.545 < max(values) <= 0.55


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0.0, 0.03, 0.5])
def test_hue_is_shifted_as_torchvision_does_it(turns):
    images = random_images(2, 3, 16, 24)
    images[0, :, 0] = 0.3  # grey, of no hue
    images[0, :, 1] = torch.tensor([1.0, 0.0, 0.0])[:, None]
    torch.testing.assert_close(
        shift_hue(images, turns), F.adjust_hue(images, turns), rtol=0, atol=3e-6
    )


def test_a_third_of_a_turn_makes_red_green():
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1)
    green = torch.tensor([0.2, 0.8, 0.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(shift_hue(red, 1 / 3), green)
    torch.testing.assert_close(shift_hue(green, -1 / 3), red)
