"""The terms of the training objective, each from tensors to an unweighted scalar.

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
    inverse_2x2,
    resize,
)
from modules.memory_compensation import Compensation
from modules.transform import RandomTransform
from training.perceptual import PerceptualNetwork
from utils.errors import InputError


class ImagePyramid(nn.Module):
    """An image at several scales, each ``1 / s`` of its size and anti-aliased."""

    def __init__(self, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.downsample = nn.ModuleList(AntiAliasedDownsample(scale) for scale in scales)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [downsample(image) for downsample in self.downsample]


class AbsoluteDifference(torch.autograd.Function):
    """Mean absolute difference of two tensors, the second of which gets no gradient.

    ``weight`` (a tensor that broadcasts, or None) multiplies the differences.  Subtracted in the
    type of the tensors, which autocast would all copy into float32 before, and added up in at least
    float32.  All that is kept is the gradient's sign, weighted.
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
    """Mean absolute difference of each pair, summed over the pairs; gradients for ``ones``."""
    each: Sequence[Tensor | None] = weights or [None] * len(ones)
    pairs = zip(ones, others, each, strict=True)
    return torch.stack([AbsoluteDifference.apply(*pair) for pair in pairs]).sum()


def pixel(
    prediction: list[Tensor], real: list[Tensor], weights: list[Tensor] | None = None
) -> Tensor:
    """Mean absolute difference of two image pyramids, summed over scales.

    ``weights`` (B, 1, h, w) of each scale say how much a pixel counts.  Not a term of the paper:
    coarse scales pull a small, untrained network into place.
    """
    return sum_of_differences(prediction, real, weights)


def gradient(
    prediction: list[Tensor], real: list[Tensor], weights: list[Tensor] | None = None
) -> Tensor:
    """Mean absolute difference of neighbours' differences, down and across, summed over scales.

    Not a term of the paper: an edge in its place but blurred costs little in ``pixel``.  Raises
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

    No gradient flows into the real images (Johnson et al., ECCV 2016; scales as in FOMM).
    """
    scales = []
    for one, other in zip(prediction, real, strict=True):
        with torch.no_grad():
            expected = network(other)
        scales.append(sum_of_differences(network(one), expected))
    return torch.stack(scales).sum()


def landmark_distance(found: Tensor, true: Tensor) -> Tensor:
    """Mean absolute difference of landmarks (B, 68, 2), in units of the true eye distance.

    Faces whose true landmarks are not known (NaN) do not count.
    """
    return per_eye_distance(found - true, true)


def landmark_openings(found: Tensor, true: Tensor) -> Tensor:
    """The same of the openings of lids, lips and brows: of differences between two landmarks.

    Where both err alike the opening is right, which ``landmark_distance`` does not see.
    """
    return per_eye_distance(openings(found) - openings(true), true)


def openings(landmarks: Tensor) -> Tensor:
    """From the lower to the upper landmark of each opening, of faces (B, 68, 2): (B, N, 2)."""
    upper, lower = zip(*OPENINGS, strict=True)
    return landmarks[:, upper] - landmarks[:, lower]


def per_eye_distance(differences: Tensor, true: Tensor) -> Tensor:
    """Mean size of ``differences`` (B, N, 2) over the eye distances of the true landmarks."""
    known = true.isfinite().all(dim=2).all(dim=1)  # (B,)
    unit = torch.where(known, eye_distance(true), 1)
    relative = differences.abs().mean(dim=(1, 2)) / unit
    return torch.where(known, relative, 0).sum() / known.sum().clamp(min=1)


def equivariance_value(
    driving: Keypoints, transformed: Keypoints, transform: RandomTransform
) -> Tensor:
    """How far the keypoints of a frame are from the transformed frame's, led back by T."""
    return F.l1_loss(transform.points(transformed.positions), driving.positions)


def equivariance_jacobian(
    driving: Keypoints, transformed: Keypoints, transform: RandomTransform
) -> Tensor:
    """``mean |I - (J^D)^-1 (dT/dz at p^T) J^T|``: the local frames must turn as T does."""
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
    """The published form, which counts close pairs: its gradient is zero."""
    closeness = 1 - torch.sign(torch.cdist(positions, positions) - margin)
    return off_diagonal(closeness).mean()


def off_diagonal(pairs: Tensor) -> Tensor:
    """(B, K, K) with zeros on the diagonal."""
    return pairs * (1 - torch.eye(pairs.shape[-1], device=pairs.device, dtype=pairs.dtype))


def memory_consistency(compensations: list[Compensation]) -> Tensor:
    """Mean absolute difference of values and projected features, summed over levels.

    The values learn to look like the features (which get no gradient), so that the bank stores
    faces.
    """
    values = [level.values for level in compensations]
    projected = [
        resize(level.projected.detach(), level.values.shape[-2:]) for level in compensations
    ]
    return sum_of_differences(values, projected)


def memory_consistency_driving(
    compensations: list[Compensation], features: list[Tensor], occlusion: Tensor
) -> Tensor:
    """Mean absolute difference of values and what the driving frame shows, summed over levels.

    ``features`` are the projected ones of the driving frame (no gradient).  Each place counts as
    much as the source does not show it, by the occlusion map (B, 1, h, w), 1 = visible: so the
    values learn what the memory should supply.  Not in the paper.
    """
    size = compensations[0].values.shape[-2:]
    hidden = 1 - resize(occlusion.detach(), size)
    values = [level.values for level in compensations]
    weight = (hidden / hidden.mean().clamp_min(1e-6)).to(values[0].dtype)  # 1 on average
    targets = [resize(feature.detach(), size) for feature in features]
    return sum_of_differences(values, targets, [weight] * len(values))


def memory_usage(compensations: list[Compensation]) -> Tensor:
    """How unequally the slots of the memory are read, in nats, summed over levels.

        log(S S) - entropy of the attention averaged over batch and positions

    It is 0 where a batch reads every slot as much as any other.  Not in the paper.
    """
    gaps = [math.log(level.usage.shape[1]) - usage_entropy(level.usage) for level in compensations]
    return torch.stack(gaps).sum()


def adversarial_generator(fake: DiscriminatorOutput) -> Tensor:
    """Least squares: the generated image should be judged real (Mao et al., ICCV 2017)."""
    return (1 - at_least_float32(fake.logits)).square().mean()


def adversarial_discriminator(real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
    """Least squares: real images are 1, generated ones 0."""
    of_real, of_fake = (at_least_float32(judged.logits) for judged in (real, fake))
    return (1 - of_real).square().mean() + of_fake.square().mean()


def feature_matching(real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
    """Mean absolute differences of the discriminator's features, summed over blocks."""
    return sum_of_differences(fake.features, real.features)
