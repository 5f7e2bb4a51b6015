"""Identity network of AED: nn4.small2 of OpenFace (Amos et al. 2016).

An Inception network that turns a picture of a face into 128 numbers.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.checkpoints import load_strictly
from modules.published_weights import Rule, translate
from utils.errors import InputError

SIZE = 96  # side of the pictures that it takes


class Widths(NamedTuple):
    """Widths of the branches of one Inception block, in their order."""

    conv3: tuple[int, int]  # 3x3 convolution: its width after the reduction, and its output
    conv5: tuple[int, int] | None
    pool: Literal["max", "l2"]
    projection: int | None  # output of the pool's 1x1 convolution
    conv1: int | None  # output of the 1x1 convolution
    stride: int = 1  # of the 3x3 and 5x5 convolutions


# By the number of the published layer.
INCEPTIONS = {
    14: Widths((96, 128), (16, 32), "max", 32, 64),
    15: Widths((96, 128), (32, 64), "l2", 64, 64),
    16: Widths((128, 256), (32, 64), "max", None, None, stride=2),
    17: Widths((96, 192), (32, 64), "l2", 128, 256),
    18: Widths((160, 256), (64, 128), "max", None, None, stride=2),
    19: Widths((96, 384), None, "l2", 96, 256),
    21: Widths((96, 384), None, "max", 96, 256),
}

# Published name -> ours: there layers are numbered through the network and from 1.
RULES: list[Rule] = [
    (
        r"layer(\d+)\.seq_list\.(\d)\.(\d+)_(?:conv|bn)\.",
        lambda m: f"inceptions.{[*INCEPTIONS].index(int(m[1]))}.{m[2]}.{int(m[3]) - 1}.",
    ),
    (r"layer25\.", "embedding."),
    (r"layer(\d+)\.", lambda m: f"stem.{int(m[1]) - 1}."),
]


class OpenFace(nn.Module):
    """Network from pictures (B, 3, 96, 96), BGR in [0, 1], to vectors (B, 128) of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *conv_norm_relu(3, 64, kernel=7, stride=2),
            nn.MaxPool2d(3, stride=2, padding=1),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1),
            *conv_norm_relu(64, 64, kernel=1),
            *conv_norm_relu(64, 192, kernel=3),
            nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.inceptions = nn.Sequential()
        channels = 192
        for widths in INCEPTIONS.values():
            self.inceptions.append(Inception(channels, widths))
            channels = out_channels(channels, widths)
        self.embedding = nn.Linear(channels, 128)

    @classmethod
    def load(cls, path: str | Path) -> "OpenFace":
        """Load the published weights of a file, in eval mode on the CPU.

        Raises InputError for a file that holds others.
        """
        network = cls()
        # Old files do not count batches, which nothing reads.
        counts = {
            name: tensor
            for name, tensor in network.state_dict().items()
            if name.endswith("num_batches_tracked")
        }
        try:
            file = torch.load(path, map_location="cpu", weights_only=True)
            load_strictly(network, counts | translate(file, RULES), path)
        except Exception as error:  # a missing file, a damaged pickle, other weights: anything
            raise InputError(
                f"{path} does not hold the OpenFace weights: give a PyTorch file of the tensors of "
                "nn4.small2, layer1.weight to layer25.bias."
            ) from error
        return network.eval()

    def features(self, images: Tensor) -> Tensor:
        """Compute the features (B, 736) before the embedding."""
        return F.avg_pool2d(self.inceptions(self.stem(images)), 3).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        embedded = self.embedding(self.features(images))  # (B, 128)
        return embedded / (embedded.square().sum(dim=1, keepdim=True) + 1e-6).sqrt()


class Inception(nn.ModuleList):
    """Inception block: convolutions and a pool side by side, (B, C, H, W) to (B, C', H', W')."""

    def __init__(self, channels: int, widths: Widths) -> None:
        pool = nn.MaxPool2d(3, stride=2) if widths.pool == "max" else nn.LPPool2d(2, 3)
        branches = [
            reduced_conv(channels, outputs, kernel, widths.stride)
            for outputs, kernel in ((widths.conv3, 3), (widths.conv5, 5))
            if outputs
        ]
        projection = (
            conv_norm_relu(channels, widths.projection, kernel=1) if widths.projection else []
        )
        branches.append(nn.Sequential(pool, *projection))
        if widths.conv1:
            branches.append(nn.Sequential(*conv_norm_relu(channels, widths.conv1, kernel=1)))
        super().__init__(branches)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self]
        height = max(output.shape[2] for output in outputs)
        width = max(output.shape[3] for output in outputs)
        return torch.cat([centred(output, height, width) for output in outputs], dim=1)


def out_channels(channels: int, widths: Widths) -> int:
    """Add up the channels that come out of an Inception block."""
    conv5 = widths.conv5[1] if widths.conv5 else 0
    return widths.conv3[1] + conv5 + (widths.projection or channels) + (widths.conv1 or 0)


def reduced_conv(channels: int, widths: tuple[int, int], kernel: int, stride: int) -> nn.Sequential:
    reduced, out = widths
    return nn.Sequential(
        *conv_norm_relu(channels, reduced, kernel=1),
        *conv_norm_relu(reduced, out, kernel=kernel, stride=stride),
    )


def conv_norm_relu(channels: int, out: int, *, kernel: int, stride: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2)
    return [conv, nn.BatchNorm2d(out), nn.ReLU()]


def centred(x: Tensor, height: int, width: int) -> Tensor:
    """Pad a map (B, C, H, W) with zeros to a size, an odd row or column below or on the right."""
    rows, columns = height - x.shape[2], width - x.shape[3]
    left, top = columns // 2, rows // 2
    return F.pad(x, (left, columns - left, top, rows - top))
