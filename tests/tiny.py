"""A network small enough for tests, and inputs for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from datasets.frame_pairs import FramePairs, unlabelled
from modules.dense_motion import DenseMotionConfig
from modules.generator import GeneratorConfig
from modules.geometry import Keypoints
from modules.keypoint_detector import KeypointDetectorConfig
from modules.landmark_detector import LandmarkDetectorConfig
from modules.mcnet import MCNet, ModelConfig
from modules.memory_compensation import MemoryConfig

Network = TypeVar("Network", bound=nn.Module)

TINY = ModelConfig(
    num_kp=4,
    keypoint_detector=KeypointDetectorConfig(width=4, depth=2, max_width=16, downsample=2),
    dense_motion=DenseMotionConfig(width=4, depth=2, max_width=16, downsample=2),
    generator=GeneratorConfig(width=8, max_width=16, depth=2, residual_blocks=1),
    memory=MemoryConfig(channels=12, size=6, identity_hidden=8),
)

TINY_LANDMARKS = TINY.model_copy(
    update={
        "landmark_detector": LandmarkDetectorConfig(
            height=32, patch=2, width=4, depth=2, max_width=8
        )
    }
)


def tiny_model(config: ModelConfig = TINY, seed: int = 0) -> MCNet:
    torch.manual_seed(seed)
    return MCNet(config)


def randomise_norms(network: Network, seed: int = 0) -> Network:
    """Fill batch norms as a training might leave them; new ones do nothing."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.weight.shape
            module.weight.data = 0.5 + torch.rand(shape, generator=generator)
            module.bias.data = 0.3 * torch.randn(shape, generator=generator)
            module.running_mean = 0.3 * torch.randn(shape, generator=generator)
            module.running_var = 0.5 + torch.rand(shape, generator=generator)
    return network


def rounding_error(precision: torch.dtype) -> float:
    """Bound the mean error of a tiny network's picture in ``precision``, in grey levels.

    Rounding a value of about 1 has an error of a quarter of epsilon (half of it at most).  Sixteen
    layers round independently, a random walk to epsilon.  The last sigmoid passes on a quarter of
    it at most, and half of the picture is painted.
    """
    return 255 * torch.finfo(precision).eps / 8


@contextmanager
def float64() -> Iterator[None]:
    """Compute in float64, in which rounding is too small to be mistaken for a difference.

    In float32 rounding moves some values across a kink (of a ReLU, a hinge, a bilinear sample),
    where the gradient jumps; which ones depends on the CPU.
    """
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def random_images(batch: int = 2, size: tuple[int, int] = (32, 48), seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, *size, generator=generator)


def random_pairs(size: tuple[int, int] = (32, 48)) -> FramePairs:
    return unlabelled(random_images(size=size), random_images(size=size, seed=1))


def random_keypoints(batch: int = 2, num_kp: int = 4, seed: int = 0) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(batch, num_kp, 2, generator=generator) * 1.6 - 0.8
    noise = torch.randn(batch, num_kp, 2, 2, generator=generator)
    return Keypoints(positions, torch.eye(2) + 0.2 * noise, positions[:, :0])


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Unit Gaussian numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)
