"""Plane geometry that the networks share: coordinates, keypoints and warping.

Coordinates are ``(x, y)``, x to the right, both in [-1, 1]; pixel ``i`` of ``n`` is at
``2 i / (n - 1) - 1``, so that the corner pixels are at the ends.  Shapes use B samples, K
keypoints, C channels, H x W pixels.  Coordinates, Gaussians and sampling are in float32, also under
autocast: near the border of a picture bfloat16 cannot resolve half a pixel.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEYPOINT_VARIANCE = 0.01  # of the Gaussian that stands for a keypoint (FOMM)


class Keypoints(NamedTuple):
    """Keypoints of a batch of frames with the local affine frame at each, and facial landmarks."""

    positions: Tensor  # (B, K, 2), (x, y) in [-1, 1]
    jacobians: Tensor  # (B, K, 2, 2)
    landmarks: Tensor  # (B, 68, 2), (x, y) in [-1, 1]; (B, 0, 2) without a landmark detector


def full_precision(like: Tensor) -> AbstractContextManager[None]:
    """Turn autocast off on the device of ``like``, a tensor of any shape.

    Matrix products inside keep the type of their inputs.
    """
    return torch.autocast(like.device.type, enabled=False)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert ``x``, of any shape, to float32 unless it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def coordinate_grid(size: tuple[int, ...], like: Tensor) -> Tensor:
    """List the coordinates of every pixel of a map of ``size`` (H, W): (H, W, 2).

    On the device of ``like``; float32, or float64 where ``like`` is.
    """
    y, x = (axis(n, like) for n in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def axis(num: int, like: Tensor) -> Tensor:
    """List the coordinates of ``num`` pixels in a row: (num,), in at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return torch.linspace(-1, 1, num, device=like.device, dtype=dtype)


def gaussian_maps(
    positions: Tensor, size: tuple[int, ...], variance: float = KEYPOINT_VARIANCE
) -> Tensor:
    """Draw a Gaussian of peak 1 at every keypoint, ``exp(-|z - p|^2 / (2 v))``: (B, K, H, W).

    Computed as the product of a Gaussian over the columns and one over the rows.
    """
    column, row = gaussian_lines(positions, size, variance)
    return row[..., :, None] * column[..., None, :]


def gaussian_lines(
    positions: Tensor, size: tuple[int, ...], variance: float = KEYPOINT_VARIANCE
) -> tuple[Tensor, Tensor]:
    """Draw a Gaussian of peak 1 at every keypoint over the columns and one over the rows.

    Returns (B, K, W) and (B, K, H).
    """
    column, row = (
        torch.exp(-(axis(num, like=positions) - centre).square() / (2 * variance))
        for num, centre in zip(reversed(size), positions.split(1, dim=-1), strict=True)
    )
    return column, row


def inverse_2x2(matrices: Tensor) -> Tensor:
    """Invert (..., 2, 2) matrices, in closed form and in at least float32."""
    a, b, c, d = at_least_float32(matrices).flatten(-2).unbind(-1)
    adjugate = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2))
    return adjugate / (a * d - b * c)[..., None, None]


def sample(
    image: Tensor,
    field: Tensor,
    *,
    align_corners: bool,
    padding: Literal["zeros", "reflection"] = "zeros",
) -> Tensor:
    """Sample an image (B, C, H, W) at the coordinates of ``field`` (B, h, w, 2): (B, C, h, w).

    Bilinear; the result has the type and memory layout of ``image``.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    with full_precision(image):
        sampled = F.grid_sample(
            LayoutOfGradient.apply(image).to(dtype),
            field.to(dtype),
            mode="bilinear",
            padding_mode=padding,
            align_corners=align_corners,
        )
    return sampled.to(image.dtype, memory_format=memory_layout(image))


class LayoutOfGradient(torch.autograd.Function):
    """Identity of (B, C, H, W) whose gradient has the memory layout of its input."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        ctx.layout = memory_layout(image)
        return image.view_as(image)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.layout)


def memory_layout(image: Tensor) -> torch.memory_format:
    """Find the memory format of (B, C, H, W): channels last, or else channels first."""
    last = torch.channels_last
    return last if image.is_contiguous(memory_format=last) else torch.contiguous_format


def resize(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize (B, C, h, w) bilinearly, corners aligned: (B, C, H, W)."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=True)


def warp(feature: Tensor, deformation: Tensor) -> Tensor:
    """Warp a feature (B, C, H, W) by a deformation (B, h, w, 2) of any size (FOMM)."""
    field = resize(deformation.permute(0, 3, 1, 2), feature.shape[-2:]).permute(0, 2, 3, 1)
    return sample(feature, field, align_corners=True)


class AntiAliasedDownsample(nn.Module):
    """Downsampling: every ``factor``-th pixel, from the first, of the image after a Gaussian blur.

    Sigma is ``(factor - 1) / 2``, the kernel ``2 round(4 sigma) + 1`` wide with sum 1, the
    padding zero.  The kernel is the product of a column and a row, which are applied one after
    the other, in at least float32.  A factor of 1 returns the image.
    """

    line: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        sigma = (factor - 1) / 2
        radius = round(4 * sigma)
        offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
        line = torch.exp(-offsets.square() / (2 * sigma**2)) if radius else torch.ones(1)
        line = (line / line.sum()).to(torch.get_default_dtype())
        self.register_buffer("line", line, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Downsample (B, C, H, W) to (B, C, H / factor, W / factor)."""
        if self.factor == 1:
            return image
        x = at_least_float32(image)
        row = self.line.to(x.dtype).expand(x.shape[1], 1, 1, -1)
        padding, channels = len(self.line) // 2, len(row)
        with full_precision(x):
            x = F.conv2d(x, row.mT, None, (self.factor, 1), (padding, 0), groups=channels)
            x = F.conv2d(x, row, None, (1, self.factor), (0, padding), groups=channels)
        return x
