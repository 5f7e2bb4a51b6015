"""Convolution blocks of the networks (FOMM, supplementary material).

All convolutions have biases and keep the size of their input.  B samples, C channels, H x W.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MANY_POSITIONS = 256  # of a feature; with fewer, a larger kernel costs more than it saves


class SameBlock(nn.Module):
    """Convolution, batch norm, ReLU: (B, C, H, W) to (B, C', H, W)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)), inplace=True)


class DownBlock(SameBlock):
    """A same block and a 2 x 2 average pool: (B, C, H, W) to (B, C', H / 2, W / 2), rounded up."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(super().forward(x), kernel_size=2, ceil_mode=True)


class UpBlock(SameBlock):
    """Nearest-neighbour upsampling and a same block: (B, C, H, W) to (B, C', 2 H, 2 W)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(convolve_doubled(x, self.conv)), inplace=True)


def convolve_doubled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """Upsample by 2 to nearest neighbours and convolve 3 x 3: (B, C', 2 H, 2 W)."""
    if x[0, 0].numel() < MANY_POSITIONS:
        return conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    return F.conv_transpose2d(x, doubled_kernel(conv.weight), conv.bias, stride=2, padding=1)


def doubled_kernel(kernel: Tensor) -> Tensor:
    """Sum a kernel for doubled maps (C', C, 3, 3) into one of a transposed convolution.

    Returns (C, C', 4, 4), to be used with stride 2 and padding 1.  A kernel sees 2 x 2 different
    pixels of a doubled map at a time; so does a transposed convolution whose kernel sums the taps
    that meet the same pixel, with 4/9 of the multiplications.
    """
    taps = kernel.flip(2, 3)
    # Not with ``divisor_override=1``, which the exporter to ONNX ignores: 4 times is as exact.
    summed = 4 * F.avg_pool2d(taps, kernel_size=2, stride=1, padding=1)
    return summed.transpose(0, 1)


class ResidualBlock(nn.Module):
    """Two pre-activated convolutions, added to the input (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.norm2: nn.Module = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(F.relu(self.norm1(x), inplace=True))
        return x + self.conv2(F.relu(self.norm2(residual), inplace=True))


class Hourglass(nn.Module):
    """An encoder and a decoder of ``depth`` halvings with a skip connection at every size.

    Level i has ``min(max_width, width * 2**i)`` channels.  Any size is possible: an odd side is
    rounded up on the way down and cropped on the way up.
    """

    def __init__(self, in_channels: int, width: int, depth: int, max_width: int) -> None:
        super().__init__()
        widths = [min(max_width, width * 2**level) for level in range(depth + 1)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for level in range(depth):
            inner = in_channels if level == 0 else widths[level]
            self.down.append(DownBlock(inner, widths[level + 1]))
        for level in reversed(range(depth)):
            deepest = level == depth - 1
            self.up.append(UpBlock(widths[level + 1] * (1 if deepest else 2), widths[level]))
        self.out_channels = width + in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, width + C, H, W)."""
        skipped = []
        for down in self.down:
            skipped.append(x)
            x = down(x)
        for up in self.up:
            skip = skipped.pop()
            x = torch.cat([up(x)[..., : skip.shape[-2], : skip.shape[-1]], skip], dim=1)
        return x
