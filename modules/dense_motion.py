"""Dense motion: from two sets of keypoints to where every driving pixel lies in the source.

Each keypoint's local affine frame proposes a motion of the whole plane; a network decides, for
every pixel, which proposal to trust, and which pixels of the driving frame the source cannot show
(FOMM, combining local motions).  B samples, K keypoints, H x W pixels of the downsampled source.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.blocks import Hourglass
from modules.geometry import (
    KEYPOINT_VARIANCE,
    AntiAliasedDownsample,
    Keypoints,
    coordinate_grid,
    full_precision,
    gaussian_maps,
    inverse_2x2,
    sample,
)
from modules.section import Section


class DenseMotionConfig(Section):
    """Section ``model.dense_motion``."""

    width: PositiveInt = 64  # channels of the hourglass at full size
    depth: PositiveInt = 5  # halvings inside the hourglass
    max_width: PositiveInt = 1024
    downsample: PositiveInt = 4  # the motion is this many times smaller than the image
    variance: PositiveFloat = (
        KEYPOINT_VARIANCE  # of a keypoint's Gaussian, in [-1, 1] units squared
    )


class DenseMotion(NamedTuple):
    """How the source must move to look like the driving frame."""

    deformation: Tensor  # (B, H, W, 2): for a driving pixel, where to look in the source
    occlusion: Tensor  # (B, 1, H, W) in [0, 1], 1 = visible in the source
    mask: Tensor  # (B, K + 1, H, W), the share of each motion at a pixel, summing to 1
    candidates: Tensor  # (B, K + 1, 3, H, W), the source warped by each motion


def sparse_motions(source: Keypoints, driving: Keypoints, size: tuple[int, ...]) -> Tensor:
    """Motion of the plane seen from each keypoint, background first (FOMM, Eq. 4).

        T_0(z) = z,    T_k(z) = p_k^S + J_k^S (J_k^D)^-1 (z - p_k^D)

    Returns the source point of every driving point, (B, K + 1, H, W, 2) in [-1, 1].
    """
    z = coordinate_grid(size, like=driving.positions)  # (H, W, 2)
    driving_to_source = source.jacobians @ inverse_2x2(driving.jacobians)  # (B, K, 2, 2)
    offsets = z - driving.positions[:, :, None, None]  # (B, K, H, W, 2)
    moved = torch.einsum("bkij,bkhwj->bkhwi", driving_to_source, offsets)
    moved = moved + source.positions[:, :, None, None]
    background = z.expand(len(moved), 1, *z.shape)
    return torch.cat([background, moved], dim=1)


def motion_heatmaps(
    source: Keypoints, driving: Keypoints, size: tuple[int, ...], variance: float
) -> Tensor:
    """Where each motion happens: the Gaussian of the driving keypoint less the source's.

    (B, K + 1, H, W), zero for the background.
    """
    moved = gaussian_maps(driving.positions, size, variance) - gaussian_maps(
        source.positions, size, variance
    )
    return F.pad(moved, (0, 0, 0, 0, 1, 0))


class DenseMotionNetwork(nn.Module):
    """Source image and two sets of keypoints -> ``DenseMotion``."""

    def __init__(self, config: DenseMotionConfig, num_kp: int) -> None:
        super().__init__()
        self.variance = config.variance
        self.downsample = AntiAliasedDownsample(config.downsample)
        heatmap_and_candidate = 1 + 3
        self.hourglass = Hourglass(
            heatmap_and_candidate * (num_kp + 1), config.width, config.depth, config.max_width
        )
        features = self.hourglass.out_channels
        self.mask = nn.Conv2d(features, num_kp + 1, kernel_size=7, padding=3)
        self.occlusion = nn.Conv2d(features, 1, kernel_size=7, padding=3)

    def forward(self, source: Tensor, source_kp: Keypoints, driving_kp: Keypoints) -> DenseMotion:
        """(B, 3, H', W') in [0, 1] and its keypoints, the driving frame's keypoints."""
        source = self.downsample(source)
        size = source.shape[-2:]
        with full_precision(source):
            motions = sparse_motions(source_kp, driving_kp, size)
            heatmaps = motion_heatmaps(source_kp, driving_kp, size, self.variance)

        candidates = sample(source, motions.flatten(1, 2), align_corners=False)
        candidates = candidates.unflatten(2, motions.shape[1:3])  # (B, 3, K + 1, H, W)
        candidates = candidates.movedim(1, 2)

        evidence = torch.cat([heatmaps[:, :, None], candidates], dim=2).flatten(1, 2)
        feature = self.hourglass(evidence)
        mask = self.mask(feature).float().softmax(dim=1)
        with full_precision(source):
            deformation = torch.einsum("bkhw,bkhwi->bhwi", mask, motions)
        occlusion = self.occlusion(feature).float().sigmoid()
        return DenseMotion(deformation, occlusion, mask, candidates)
