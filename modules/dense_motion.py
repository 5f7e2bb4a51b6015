"""Dense motion: where every driving pixel lies in the source, from two sets of keypoints.

Each keypoint's local affine frame proposes a motion of the whole plane; a network decides, for
every pixel, which proposal to trust, and which pixels of the driving frame the source cannot show
(FOMM, combining local motions).  With facial landmarks there is one more motion, the spline through
them, which knows where lids and lips are (not in the paper).  B samples, K keypoints, M
motions (K + 1, or K + 2 with landmarks), H x W pixels of the downsampled source.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.blocks import DownBlock, Hourglass
from modules.geometry import (
    KEYPOINT_VARIANCE,
    AntiAliasedDownsample,
    Keypoints,
    at_least_float32,
    coordinate_grid,
    full_precision,
    gaussian_maps,
    inverse_2x2,
    sample,
)
from modules.thin_plate_spline import spline_motion
from utils.section import Section

HEATMAP_AND_CANDIDATE = 1 + 3  # channels of evidence for each motion
SPLINE_LOGIT = 6.0  # of the spline at first: + on the landmarks, - far from them


class DenseMotionConfig(Section):
    """Section ``model.dense_motion``: its hourglass and the Gaussians of keypoints."""

    width: PositiveInt = 64  # channels of the hourglass at full size
    depth: PositiveInt = 5  # halvings inside the hourglass
    max_width: PositiveInt = 1024
    downsample: PositiveInt = 4  # the motion is this many times smaller than the image
    variance: PositiveFloat = KEYPOINT_VARIANCE  # of a keypoint's Gaussian, in [-1, 1] squared


class DenseMotion(NamedTuple):
    """The motion by which the source looks like the driving frame."""

    deformation: Tensor  # (B, H, W, 2): for a driving pixel, where to look in the source
    occlusion: Tensor  # (B, 1, H, W) in [0, 1], 1 = visible in the source
    mask: Tensor  # (B, M, H, W), the share of each motion at a pixel, summing to 1
    candidates: Tensor  # (B, M, 3, H, W), the source warped by each motion


def sparse_motions(
    source: Keypoints, driving: Keypoints, size: tuple[int, ...], spline: Tensor | None = None
) -> Tensor:
    """Compute the motion of the plane seen from each keypoint, background first (FOMM, Eq. 4).

        T_0(z) = z,    T_k(z) = p_k^S + J_k^S (J_k^D)^-1 (z - p_k^D)

    With landmarks the spline through them is the last; ``spline`` are its coefficients
    (B, 68 + 19, 2) if they are known.  Returns the source point of every driving point,
    (B, M, H, W, 2) in [-1, 1].
    """
    z = coordinate_grid(size, like=driving.positions)  # (H, W, 2)
    driving_to_source = source.jacobians @ inverse_2x2(driving.jacobians)  # (B, K, 2, 2)
    offsets = z - driving.positions[:, :, None, None]  # (B, K, H, W, 2)
    moved = torch.einsum("bkij,bkhwj->bkhwi", driving_to_source, offsets)
    moved = moved + source.positions[:, :, None, None]
    motions = [z.expand(len(moved), 1, *z.shape), moved]
    if driving.landmarks.shape[1]:
        landmarks = source.landmarks.expand_as(driving.landmarks)
        motions.append(spline_motion(landmarks, driving.landmarks, size, spline)[:, None])
    return torch.cat(motions, dim=1)


def motion_heatmaps(
    source: Keypoints, driving: Keypoints, size: tuple[int, ...], variance: float
) -> Tensor:
    """Show where each motion happens: the driving keypoint's Gaussian minus the source's.

    Returns (B, M, H, W), zero for the background.  The map of the spline is the maximum of the
    Gaussians of the driving landmarks.
    """
    moved = gaussian_maps(driving.positions, size, variance) - gaussian_maps(
        source.positions, size, variance
    )
    maps = F.pad(moved, (0, 0, 0, 0, 1, 0))
    if driving.landmarks.shape[1]:
        face = gaussian_maps(driving.landmarks, size, variance).amax(dim=1, keepdim=True)
        maps = torch.cat([maps, face], dim=1)
    return maps


class DenseMotionNetwork(nn.Module):
    """Dense motion network: maps a source image and two sets of keypoints to ``DenseMotion``."""

    def __init__(self, config: DenseMotionConfig, num_kp: int, landmarks: bool = False) -> None:
        super().__init__()
        self.variance = config.variance
        self.downsample = AntiAliasedDownsample(config.downsample)
        num_motions = num_kp + 1 + landmarks
        self.hourglass = Hourglass(
            HEATMAP_AND_CANDIDATE * num_motions, config.width, config.depth, config.max_width
        )
        features = self.hourglass.out_channels
        self.mask = nn.Conv2d(features, num_motions, kernel_size=7, padding=3)
        self.occlusion = nn.Conv2d(features, 1, kernel_size=7, padding=3)
        if landmarks:
            self.init_spline()

    @torch.no_grad()
    def init_spline(self) -> None:
        """Initialise so that the spline moves the face, and no other output depends on it.

        A network that was trained without landmarks can so go on with them.
        """
        down = self.hourglass.down[0]
        assert isinstance(down, DownBlock)
        for conv in (down.conv, self.mask, self.occlusion):
            conv.weight[:, -HEATMAP_AND_CANDIDATE:] = 0  # its evidence comes last
        self.mask.weight[-1] = 0
        self.mask.weight[-1, -HEATMAP_AND_CANDIDATE, 3, 3] = 2 * SPLINE_LOGIT
        assert self.mask.bias is not None
        self.mask.bias[-1] = -SPLINE_LOGIT

    def forward(self, source: Tensor, source_kp: Keypoints, driving_kp: Keypoints) -> DenseMotion:
        """Move a source (B, 3, H', W') in [0, 1] with its keypoints to the driving keypoints."""
        source = self.downsample(source)
        size = source.shape[-2:]
        with full_precision(source):
            motions = sparse_motions(source_kp, driving_kp, size)
            heatmaps = motion_heatmaps(source_kp, driving_kp, size, self.variance)

        candidates = sample(source, motions.flatten(1, 2), align_corners=False)
        candidates = candidates.unflatten(2, motions.shape[1:3])  # (B, 3, M, H, W)
        candidates = candidates.movedim(1, 2)

        evidence = torch.cat([heatmaps[:, :, None], candidates], dim=2).flatten(1, 2)
        feature = self.hourglass(evidence)
        mask = at_least_float32(self.mask(feature)).softmax(dim=1)
        with full_precision(source):
            deformation = torch.einsum("bkhw,bkhwi->bhwi", mask, motions)
        occlusion = at_least_float32(self.occlusion(feature)).sigmoid()
        return DenseMotion(deformation, occlusion, mask, candidates)
