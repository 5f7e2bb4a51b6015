"""Loss terms of the training objective, each a function of tensors to an unweighted scalar.

Hong & Xu, ICCV 2023; the perceptual and equivariance terms are those of FOMM.  B samples, K
keypoints.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.attention import usage_entropy
from modules.discriminator import DiscriminatorOutput
from modules.face_landmarks import OPENINGS, eye_distance
from modules.geometry import (
    AntiAliasedDownsample,
    Keypoints,
    at_least_float32,
    full_precision,
    gaussian_maps,
    inverse_2x2,
    resize,
)
from modules.memory_compensation import Compensation
from modules.transform import RandomTransform
from training.perceptual import PerceptualNetwork
from utils.errors import InputError

HEATMAP_VARIANCE = 0.001  # of the Gaussians that heatmaps learn: about a patch of lite.yaml

# Of each opening: in a talking face lids open by a fourth of what lips do, brows rise and the mouth
# widens by a half
OPENING_WEIGHTS = (*(1.0,) * 6, *(4.0,) * 4, *(2.0,) * 6)


class ImagePyramid(nn.Module):
    """Image pyramid: an image anti-aliased and downsampled by each of ``scales``."""

    def __init__(self, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.downsample = nn.ModuleList(AntiAliasedDownsample(scale) for scale in scales)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Downsample (B, 3, H, W) to (B, 3, H / s, W / s) for each scale s."""
        return [downsample(image) for downsample in self.downsample]


class AbsoluteDifference(torch.autograd.Function):
    """Mean absolute difference of two tensors, a scalar, with a gradient for the first only.

    ``weight`` (a tensor that broadcasts, or None) multiplies the differences.  They are subtracted
    in the type of the tensors, which autocast would copy to float32 first, and summed in at least
    float32.  Only the weighted sign of the differences is kept for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor, weight: Tensor | None = None) -> Tensor:
        difference = one - other
        slope = difference.sgn()
        if weight is not None:
            difference, slope = difference * weight, slope * weight
        ctx.save_for_backward(slope)
        return difference.abs_().mean(dtype=torch.promote_types(one.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * (gradient / slope.numel()).to(slope.dtype), None, None


def sum_of_differences(
    ones: list[Tensor], others: list[Tensor], weights: list[Tensor] | None = None
) -> Tensor:
    """Sum mean absolute differences of pairs of tensors: a scalar, with gradients for ``ones``."""
    each: Sequence[Tensor | None] = weights or [None] * len(ones)
    pairs = zip(ones, others, each, strict=True)
    return torch.stack([AbsoluteDifference.apply(*pair) for pair in pairs]).sum()


def pixel(
    prediction: list[Tensor], real: list[Tensor], weights: list[Tensor] | None = None
) -> Tensor:
    """Mean absolute difference of two image pyramids, summed over scales.

    ``weights`` (B, 1, h, w) of each scale are those of the pixels.  Not a term of the paper:
    coarse scales pull a small, untrained network into place.
    """
    return sum_of_differences(prediction, real, weights)


def gradient(
    prediction: list[Tensor], real: list[Tensor], weights: list[Tensor] | None = None
) -> Tensor:
    """Mean absolute difference of image gradients of two pyramids, summed over axes and scales.

    Not a term of the paper: a blurred edge costs little in ``pixel``.  Raises
    InputError for an image in which a pixel has no neighbour.
    """
    smallest = min(min(one.shape[-2:]) for one in prediction)
    if smallest < 2:
        raise InputError(
            "loss.gradient compares neighbouring pixels, and an image is one pixel wide or high: "
            "leave the largest of loss.scales out."
        )
    axes = (-2, -1)
    slopes = [[x.diff(dim=axis) for x in side for axis in axes] for side in (prediction, real)]
    if weights is not None:
        weights = [x.narrow(axis, 1, x.shape[axis] - 1) for x in weights for axis in axes]
    return sum_of_differences(slopes[0], slopes[1], weights)


def perceptual(prediction: list[Tensor], real: list[Tensor], network: PerceptualNetwork) -> Tensor:
    """Mean absolute difference of the VGG features of two pyramids, summed over layers and scales.

    A scalar of images (B, 3, H, W); the real ones get no gradient (Johnson et al., ECCV 2016;
    scales as in FOMM).
    """
    scales = []
    for one, other in zip(prediction, real, strict=True):
        with torch.no_grad():
            expected = network(other)
        scales.append(sum_of_differences(network(one), expected))
    return torch.stack(scales).sum()


def landmark_distance(found: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference of landmarks (B, 68, 2), in units of the true eye distance.

    Faces whose true landmarks are unknown (NaN) are left out.
    """
    return per_eye_distance(found - true, true)


def landmark_openings(found: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference of openings of lids, lips and brows of (B, 68, 2), in eye distances.

    An opening is right where both of its landmarks are wrong by the same vector, which
    ``landmark_distance`` cannot tell.  Each counts by how little it moves in a talking face.
    """
    return per_eye_distance(openings(found) - openings(true), true)


def landmark_movements(found: Tensor, true: Tensor) -> Tensor:
    """Compare how openings change between two frames, landmarks (B, 2, 68, 2), in eye distances.

    An opening that is wrong by the same vector in both frames moves a portrait as it should, which
    ``landmark_openings`` cannot tell.
    """
    found_change, true_change = (openings(x[:, 1]) - openings(x[:, 0]) for x in (found, true))
    known = true.isfinite().all(dim=1, keepdim=True)  # in both frames
    return per_eye_distance(found_change - true_change, true[:, 0].where(known[:, 0], torch.nan))


def landmark_heatmaps(logits: Tensor, true: Tensor) -> Tensor:
    """Cross-entropy of heatmap logits (B, 68, h, w) and Gaussians around landmarks (B, 68, 2).

    Unlike a distance it says of every position whether the landmark is there.  Landmarks that are
    unknown (NaN) or outside of the picture are left out.
    """
    inside = (true.abs() <= 1).all(dim=2)  # (B, 68); false for NaN
    places = torch.where(inside[..., None], true, 0)
    target = gaussian_maps(places, logits.shape[-2:], HEATMAP_VARIANCE).flatten(2)
    target = target / target.sum(dim=2, keepdim=True)
    entropy = -(target * logits.flatten(2).log_softmax(dim=2)).sum(dim=2)
    return torch.where(inside, entropy, 0).sum() / inside.sum().clamp(min=1)


def landmark_cycle(found: Tensor, true: Tensor) -> Tensor:
    """Compare landmarks (B, 68, 2) of the result with the driving frame's; openings count twice."""
    return landmark_distance(found, true) + 2 * landmark_openings(found, true)


def openings(landmarks: Tensor) -> Tensor:
    """List the vectors between the landmarks of each opening of (B, 68, 2), weighted: (B, N, 2)."""
    vectors = [
        weight * (landmarks[:, one] - landmarks[:, other])
        for weight, (one, other) in zip(OPENING_WEIGHTS, OPENINGS, strict=True)
    ]
    return torch.stack(vectors, dim=1)


def per_eye_distance(differences: Tensor, true: Tensor) -> Tensor:
    """Divide the mean size of differences (B, N, 2) by the true eye distance, over known faces."""
    known = true.isfinite().all(dim=2).all(dim=1)  # (B,)
    unit = torch.where(known, eye_distance(true), 1)
    relative = differences.abs().mean(dim=(1, 2)) / unit
    return torch.where(known, relative, 0).sum() / known.sum().clamp(min=1)


def equivariance_value(
    driving: Keypoints, transformed: Keypoints, transform: RandomTransform
) -> Tensor:
    """Mean absolute difference of keypoints (B, K, 2) and the transformed frame's, mapped by T."""
    return F.l1_loss(transform.points(transformed.positions), driving.positions)


def equivariance_jacobian(
    driving: Keypoints, transformed: Keypoints, transform: RandomTransform
) -> Tensor:
    """Compare local frames (B, K, 2, 2) with T: ``mean |I - (J^D)^-1 (dT/dz at p^T) J^T|``."""
    with full_precision(transformed.positions):
        led_back = transform.jacobians(transformed.positions) @ transformed.jacobians
        product = inverse_2x2(driving.jacobians) @ led_back
    identity = torch.eye(2, device=product.device, dtype=product.dtype)
    return F.l1_loss(product, identity.expand_as(product))


def keypoint_distance(positions: Tensor, margin: float = 0.2) -> Tensor:
    """Hinge on keypoints (B, K, 2) of one frame closer than ``margin``, over all ordered pairs."""
    closeness = F.relu(margin - torch.cdist(positions, positions))  # (B, K, K)
    return off_diagonal(closeness).mean()


def keypoint_distance_sign(positions: Tensor, margin: float = 0.2) -> Tensor:
    """Count the close pairs of keypoints (B, K, 2), as published: the gradient is zero."""
    closeness = 1 - torch.sign(torch.cdist(positions, positions) - margin)
    return off_diagonal(closeness).mean()


def off_diagonal(pairs: Tensor) -> Tensor:
    """Set the diagonals of (B, K, K) to zero."""
    return pairs * (1 - torch.eye(pairs.shape[-1], device=pairs.device, dtype=pairs.dtype))


def memory_consistency(compensations: list[Compensation]) -> Tensor:
    """Mean absolute difference of the memory's values and projected features, summed over levels.

    A scalar.  The values learn to look like the features (which get no gradient), so that the bank
    stores faces.
    """
    values = [level.values for level in compensations]
    projected = [
        resize(level.projected.detach(), level.values.shape[-2:]) for level in compensations
    ]
    return sum_of_differences(values, projected)


def memory_consistency_driving(
    compensations: list[Compensation], features: list[Tensor], occlusion: Tensor
) -> Tensor:
    """Mean absolute difference of the memory's values and the driving frame, summed over levels.

    ``features`` are the projected ones of the driving frame (no gradient).  Weights are 1 minus the
    occlusion map (B, 1, h, w), 1 = visible, so that the values learn what the source does not show.
    Not in the paper.
    """
    size = compensations[0].values.shape[-2:]
    hidden = 1 - resize(occlusion.detach(), size)
    values = [level.values for level in compensations]
    weight = (hidden / hidden.mean().clamp_min(1e-6)).to(values[0].dtype)  # 1 on average
    targets = [resize(feature.detach(), size) for feature in features]
    return sum_of_differences(values, targets, [weight] * len(values))


def memory_usage(compensations: list[Compensation]) -> Tensor:
    """Measure how unequally the slots of the memory are read, in nats, summed over levels.

        log(S S) - entropy of the attention averaged over batch and positions

    It is 0 where a batch reads all slots equally.  Not in the paper.
    """
    gaps = [math.log(level.usage.shape[1]) - usage_entropy(level.usage) for level in compensations]
    return torch.stack(gaps).sum()


def adversarial_generator(fake: DiscriminatorOutput) -> Tensor:
    """Least-squares loss of the generator, a scalar of its logits (Mao et al., ICCV 2017)."""
    return (1 - at_least_float32(fake.logits)).square().mean()


def adversarial_discriminator(real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
    """Least-squares loss of the discriminator, a scalar: real images are 1, generated ones 0."""
    of_real, of_fake = (at_least_float32(output.logits) for output in (real, fake))
    return (1 - of_real).square().mean() + of_fake.square().mean()


def feature_matching(real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
    """Mean absolute difference of the discriminator's features, summed over blocks: a scalar."""
    return sum_of_differences(fake.features, real.features)
