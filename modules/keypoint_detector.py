"""The keypoint detector: where the keypoints of a face are, and its local affine frame at each.

It learns without labels (FOMM); one detector serves the source and the driving frame.
"""

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.blocks import Hourglass
from modules.geometry import (
    AntiAliasedDownsample,
    at_least_float32,
    coordinate_grid,
    full_precision,
)
from utils.section import Section


class KeypointDetectorConfig(Section):
    """Section ``model.keypoint_detector``: its size and temperature."""

    width: PositiveInt = 32  # channels of the hourglass at full size
    depth: PositiveInt = 5  # halvings inside the hourglass
    max_width: PositiveInt = 1024
    downsample: PositiveInt = 4  # the image is downsampled by this factor first
    temperature: PositiveFloat = 0.1  # divides the heatmap logits: small makes sharp heatmaps


class KeypointDetector(nn.Module):
    """Keypoint detector in float32: with heatmaps in bfloat16 keypoints move by over a pixel."""

    def __init__(self, config: KeypointDetectorConfig, num_kp: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.downsample = AntiAliasedDownsample(config.downsample)
        self.hourglass = Hourglass(3, config.width, config.depth, config.max_width)
        features = self.hourglass.out_channels
        self.heatmaps = nn.Conv2d(features, num_kp, kernel_size=7)
        self.jacobians = nn.Conv2d(features, 4 * num_kp, kernel_size=7)
        nn.init.zeros_(self.jacobians.weight)
        self.jacobians.bias = nn.Parameter(torch.eye(2).flatten().repeat(num_kp))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Find positions (B, K, 2) and jacobians (B, K, 2, 2) in (B, 3, H, W) in [0, 1]."""
        with full_precision(image):
            feature = self.hourglass(self.downsample(at_least_float32(image)))
            logits = self.heatmaps(feature) / self.temperature  # (B, K, h, w)
            heatmaps = logits.flatten(2).softmax(dim=-1).view_as(logits)[..., None]
            grid = coordinate_grid(logits.shape[-2:], like=logits)  # (h, w, 2)
            # Sums, not matrix products: these add pairwise, which keeps float32 closer; of a row at
            # a time, since other runtimes add one value after the other.
            positions = (heatmaps * grid).sum(dim=3).sum(dim=2)
            maps = self.jacobians(feature).unflatten(1, (-1, 4)).movedim(2, -1)  # (B, K, h, w, 4)
            jacobians = (heatmaps * maps).sum(dim=3).sum(dim=2).unflatten(2, (2, 2))
        return positions, jacobians
