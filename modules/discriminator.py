"""The patch discriminator, which also sees the driving keypoints (FOMM, supplementary material)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.geometry import KEYPOINT_VARIANCE, gaussian_maps
from utils.section import Section


class DiscriminatorConfig(Section):
    """Section ``discriminator``: its widths and depth."""

    width: PositiveInt = 64  # channels of the first block, doubled by every further one
    max_width: PositiveInt = 512
    depth: PositiveInt = 4  # blocks
    variance: PositiveFloat = KEYPOINT_VARIANCE  # of a keypoint's Gaussian, in [-1, 1] squared


class DiscriminatorOutput(NamedTuple):
    """Features and logits of the discriminator for a batch of images."""

    features: list[Tensor]  # each block's output, (B, C_i, h_i, w_i)
    logits: Tensor  # (B, 1, h, w), 1 = real, 0 = generated


class Discriminator(nn.Module):
    """Patch discriminator of images, conditioned on keypoints."""

    def __init__(self, config: DiscriminatorConfig, num_kp: int) -> None:
        super().__init__()
        self.variance = config.variance
        widths = [min(config.max_width, config.width * 2**i) for i in range(config.depth)]
        inputs = [3 + num_kp, *widths]
        self.convs = nn.ModuleList(
            nn.Conv2d(inner, outer, kernel_size=4)
            for inner, outer in zip(inputs, widths, strict=False)
        )
        norms = [nn.InstanceNorm2d(width, affine=True) for width in widths[1:]]
        self.norms = nn.ModuleList([nn.Identity(), *norms])
        self.logits = nn.Conv2d(widths[-1], 1, kernel_size=1)

    def forward(self, image: Tensor, positions: Tensor) -> DiscriminatorOutput:
        """Classify patches of (B, 3, H, W) in [0, 1], with positions (B, K, 2) in [-1, 1]."""
        heatmaps = gaussian_maps(positions, image.shape[-2:], self.variance).to(image.dtype)
        x = torch.cat([image, heatmaps], dim=1)
        features = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), negative_slope=0.2)
            if conv is not self.convs[-1]:
                x = F.avg_pool2d(x, kernel_size=2)
            features.append(x)
        return DiscriminatorOutput(features, self.logits(x))
