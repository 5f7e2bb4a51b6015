import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from datasets.augmentation import augment, jitter, shift_hue
from datasets.settings import AugmentationConfig

FLIPS_ONLY = AugmentationConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
COLOURS_ONLY = AugmentationConfig(horizontal_flip=False, time_flip=False)


def random_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def random_bytes(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def test_equal_draws_give_equal_pairs_whatever_the_global_state():
    pair = random_bytes(2, 3, 24, 32)
    first = augment(pair, AugmentationConfig(), np.random.default_rng(5))
    torch.manual_seed(1)
    again = augment(pair, AugmentationConfig(), np.random.default_rng(5))
    assert torch.equal(first, again)
    assert not torch.equal(first, augment(pair, AugmentationConfig(), np.random.default_rng(6)))


def test_both_frames_get_the_same_change():
    image = random_bytes(3, 24, 32)
    for seed in range(8):
        pair = torch.stack([image, image])
        source, driving = augment(pair, AugmentationConfig(), np.random.default_rng(seed))
        assert torch.equal(source, driving)
        assert source.dtype == torch.uint8
        assert source.shape == image.shape
        assert torch.equal(pair, torch.stack([image, image]))  # is left as it was


def test_all_four_flips_occur_equally_often():
    pair = random_bytes(2, 3, 4, 6)
    draws = np.random.default_rng(0)
    counts = {"none": 0, "mirrored": 0, "exchanged": 0, "both": 0}
    for _ in range(400):
        augmented = augment(pair, FLIPS_ONLY, draws)
        for name, expected in {
            "none": pair,
            "mirrored": pair.flip(-1),
            "exchanged": pair.flip(0),
            "both": pair.flip(0).flip(-1),
        }.items():
            counts[name] += torch.equal(augmented, expected)
    assert sum(counts.values()) == 400
    assert min(counts.values()) > 70


def test_nothing_switched_on_changes_nothing():
    nothing = FLIPS_ONLY.model_copy(update={"horizontal_flip": False, "time_flip": False})
    pair = random_bytes(2, 3, 8, 8)
    assert torch.equal(augment(pair, nothing, np.random.default_rng(0)), pair)


@pytest.mark.parametrize("seed", range(6))
def test_the_jitter_is_that_of_torchvision_in_the_order_and_strength_drawn(seed):
    images = random_bytes(2, 3, 24, 32)
    draws = np.random.default_rng(seed)
    amounts = 0.1 * draws.uniform(-1, 1, size=4)
    colours = images / 255
    for step in draws.permutation(4):
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)[step]
        colours = adjust(colours, float(amounts[step] if step == 3 else 1 + amounts[step]))
    jittered = jitter(images, COLOURS_ONLY, np.random.default_rng(seed))
    rounding = 0.5 / 255 + 1e-5
    torch.testing.assert_close(jittered / 255, colours, rtol=0, atol=rounding)


def test_the_colour_change_is_as_strong_as_configured():
    grey = torch.full((1, 3, 4, 4), 200, dtype=torch.uint8)
    only_brightness = FLIPS_ONLY.model_copy(update={"brightness": 0.1})
    draws = np.random.default_rng(0)
    values = [jitter(grey, only_brightness, draws)[0, 0, 0, 0].item() for _ in range(300)]
    assert set(values) == set(range(180, 221))


@pytest.mark.parametrize("turns", [-0.5, -0.4, -0.2, -0.1, 0.0, 0.03, 1 / 6, 0.25, 0.5])
def test_hue_is_shifted_as_torchvision_does_it(turns):
    images = random_images(2, 3, 48, 64)
    images[0, :, 0] = 0.3  # grey, of no hue
    images[0, :, 1] = torch.tensor([1.0, 0.0, 0.0])[:, None]
    images[1] = (images[1] * 4).round() / 4  # many equal channels
    torch.testing.assert_close(
        shift_hue(images, turns), F.adjust_hue(images, turns), rtol=0, atol=3e-6
    )


def test_a_third_of_a_turn_makes_red_green():
    red = torch.tensor([0.8, 0.2, 0.2]).view(1, 3, 1, 1)
    green = torch.tensor([0.2, 0.8, 0.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(shift_hue(red, 1 / 3), green)
    torch.testing.assert_close(shift_hue(green, -1 / 3), red)
