import pytest
import torch

from modules.landmark_detector import LandmarkDetector, LandmarkDetectorConfig
from tests.tiny import random_images

CONFIG = LandmarkDetectorConfig(height=32, patch=2, width=4, depth=2, max_width=8)


def make_detector() -> LandmarkDetector:
    torch.manual_seed(0)
    return LandmarkDetector(CONFIG).eval()


def test_landmarks_lie_in_the_picture():
    landmarks = make_detector()(random_images(size=(32, 48)))
    assert landmarks.shape == (2, 68, 2)
    assert landmarks.abs().max() <= 1


def test_a_sharp_heatmap_puts_the_landmark_on_its_position():
    detector = make_detector()

    def one_hot(module, inputs, logits):
        peak = torch.zeros_like(logits)
        peak[:, :, 2, 7] = 100
        return peak

    detector.heatmaps.register_forward_hook(one_hot)
    landmarks = detector(random_images(size=(32, 48)))
    expected = torch.tensor([2 * 7 / (24 - 1) - 1, 2 * 2 / (16 - 1) - 1])
    torch.testing.assert_close(landmarks, expected.expand_as(landmarks))


@pytest.mark.parametrize("size", [(16, 24), (64, 96), (31, 47)])
def test_pictures_of_other_sizes_are_looked_at_in_its_own(size):
    patches = make_detector().patches(random_images(size=size))
    assert patches.shape == (2, 3 * 2**2, 16, 24)


def test_no_pixel_of_a_picture_of_its_size_is_lost():
    image = random_images(size=(32, 48))
    assert torch.equal(
        make_detector().patches(image).flatten().sort()[0], image.flatten().sort()[0]
    )


def test_gradients_reach_every_parameter_and_the_picture():
    detector, image = make_detector().train(), random_images(size=(32, 48)).requires_grad_()
    detector(image).square().sum().backward()
    assert image.grad.abs().max() > 0
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_positions_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert make_detector()(random_images(size=(32, 48))).dtype == torch.float32
