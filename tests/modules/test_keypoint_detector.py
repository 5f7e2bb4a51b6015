import torch

from modules.keypoint_detector import KeypointDetector, KeypointDetectorConfig
from tests.tiny import random_images

CONFIG = KeypointDetectorConfig(width=4, depth=2, max_width=16, downsample=2)


def make_detector() -> KeypointDetector:
    torch.manual_seed(0)
    return KeypointDetector(CONFIG, num_kp=5).eval()


def test_an_untrained_detector_sees_upright_frames():
    positions, jacobians = make_detector()(random_images(size=(32, 48)))
    assert positions.shape == (2, 5, 2)
    assert positions.abs().max() <= 1
    torch.testing.assert_close(jacobians, torch.eye(2).expand(2, 5, 2, 2))


def test_a_sharp_heatmap_puts_the_keypoint_on_its_pixel():
    detector = make_detector()

    def one_hot(module, inputs, logits):
        peak = torch.zeros_like(logits)
        peak[:, :, 2, 7] = 100
        return peak

    detector.heatmaps.register_forward_hook(one_hot)
    positions, _ = detector(random_images(size=(32, 48)))
    height, width = 32 // 2 - 6, 48 // 2 - 6  # the 7 x 7 convolution has no padding
    expected = torch.tensor([2 * 7 / (width - 1) - 1, 2 * 2 / (height - 1) - 1])
    torch.testing.assert_close(positions, expected.expand_as(positions))


def test_jacobians_are_averaged_with_the_heatmap_of_their_keypoint():
    detector = make_detector()
    torch.nn.init.normal_(detector.jacobians.weight)
    seen = {}
    for name in ("heatmaps", "jacobians"):
        module = getattr(detector, name)
        module.register_forward_hook(lambda m, i, o, name=name: seen.update({name: o}))
    _, jacobians = detector(random_images(size=(32, 48)))
    heatmaps = (seen["heatmaps"] / CONFIG.temperature).flatten(2).softmax(-1)
    maps = seen["jacobians"].view(2, 5, 2, 2, -1)
    slow = (maps[1, 3] * heatmaps[1, 3]).sum(-1)
    torch.testing.assert_close(jacobians[1, 3], slow)


def test_the_detector_stays_in_float32_under_autocast():
    detector, image = make_detector(), random_images()
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = detector(image.bfloat16())
    outside, _ = detector(image.bfloat16().float())
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, outside)
