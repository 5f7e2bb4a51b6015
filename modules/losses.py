"""The terms of the training objective, each from tensors to an unweighted scalar.

Hong & Xu, ICCV 2023; the perceptual and equivariance terms are those of FOMM.  B samples, K
keypoints.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.compensation import Compensation
from modules.discriminator import Judgement
from modules.errors import InputError
from modules.geometry import AntiAliasedDownsample, Keypoints, full_precision, inverse_2x2, resize
from modules.perceptual import PerceptualNetwork
from modules.transform import RandomTransform


class ImagePyramid(nn.Module):
    """An image at several scales, each ``1 / s`` of its size and anti-aliased."""

    def __init__(self, scales: tuple[int, ...]) -> None:
        super().__init__()
        self.downsample = nn.ModuleList(AntiAliasedDownsample(scale) for scale in scales)

    def forward(self, image: Tensor) -> list[Tensor]:
        return [downsample(image) for downsample in self.downsample]


class AbsoluteDifference(torch.autograd.Function):
    """Mean absolute difference of two tensors, the second of which gets no gradient.

    Subtracted in the type of the tensors, which autocast would all copy into float32 before, and
    added up in at least float32.  All that is kept is the gradient's sign.
    """

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        difference = one - other
        ctx.save_for_backward(difference.sgn())
        return difference.abs_().mean(dtype=torch.promote_types(one.dtype, torch.float32))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (sign,) = ctx.saved_tensors
        return sign * (gradient / sign.numel()).to(sign.dtype), None


def sum_of_differences(ones: list[Tensor], others: list[Tensor]) -> Tensor:
    """Mean absolute difference of each pair, summed over the pairs; gradients for ``ones``."""
    pairs = zip(ones, others, strict=True)
    return torch.stack([AbsoluteDifference.apply(*pair) for pair in pairs]).sum()


def pixel(prediction: list[Tensor], real: list[Tensor]) -> Tensor:
    """Mean absolute difference of two image pyramids, summed over scales.

    Not a term of the paper: coarse scales pull a small, untrained network into place.
    """
    return sum_of_differences(prediction, real)


def gradient(prediction: list[Tensor], real: list[Tensor]) -> Tensor:
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
    slopes = [
        (one.diff(dim=axis), other.diff(dim=axis))
        for one, other in zip(prediction, real, strict=True)
        for axis in (-2, -1)
    ]
    return sum_of_differences(*(list(side) for side in zip(*slopes, strict=True)))


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


def adversarial_generator(fake: Judgement) -> Tensor:
    """Least squares: the generated image should be judged real (Mao et al., ICCV 2017)."""
    return (1 - fake.realness.float()).square().mean()


def adversarial_discriminator(real: Judgement, fake: Judgement) -> Tensor:
    """Least squares: real images are 1, generated ones 0."""
    return (1 - real.realness.float()).square().mean() + fake.realness.float().square().mean()


def feature_matching(real: Judgement, fake: Judgement) -> Tensor:
    """Mean absolute differences of the discriminator's features, summed over blocks."""
    return sum_of_differences(fake.features, real.features)
