"""Memory compensation: what a warped feature lacks, filled in from the memory.

Half of the channels are kept; the other half are compared with what attention reads from the
memory of this face, and rebuilt (MCNet).  B samples, C channels, H x W positions of a
level, S x S positions of the memory.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.identity import Evidence, ImplicitIdentity
from modules.meta_memory import MetaMemory
from modules.section import Section


class MemoryConfig(Section):
    """Section ``model.memory``: the meta-memory bank and how all levels read it."""

    channels: PositiveInt = 512  # of the bank, and of the features that query it
    size: PositiveInt = 32  # the bank has size x size positions
    identity: Evidence = "keypoints and feature"  # what the identity representation is made from
    identity_hidden: PositiveInt = 128  # of its MLP
    kernels: PositiveInt = 4  # mixed into the kernel that makes keys and values
    kernel_temperature: PositiveFloat = 34.0  # divides the logits of that mixture
    temperature: PositiveFloat = 4.0  # divides the attention logits


class Compensation(NamedTuple):
    """A level's way through the memory."""

    warped: Tensor  # (B, 2 c, H, W)
    projected: Tensor  # (B, C, H, W): the lacking half of the warped feature, in memory channels
    identity: Tensor  # (B, C)
    memory: Tensor  # (B, C, S, S), conditioned on the identity
    query: Tensor  # (B, C, H, W)
    keys: Tensor  # (B, C, S, S)
    values: Tensor  # (B, C, S, S)
    read: Tensor  # (B, C, H, W): what the attention found in the memory
    compensated: Tensor  # (B, 2 c, H, W)


def split_channels(feature: Tensor) -> tuple[Tensor, Tensor]:
    """Even channels, which are kept, and odd channels, which are rebuilt: (B, c, H, W) each."""
    kept, lacking = feature.unflatten(1, (-1, 2)).unbind(dim=2)
    return kept, lacking


def merge_channels(kept: Tensor, rebuilt: Tensor) -> Tensor:
    """Undo ``split_channels``: (B, 2 c, H, W)."""
    return torch.stack([kept, rebuilt], dim=2).flatten(1, 2)


def read_memory(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    """Attention of every position of a level over all positions of the memory: (B, C, H, W)."""
    q, k, v = (x.flatten(2).transpose(1, 2) for x in (query, keys, values))  # (B, positions, C)
    found = F.scaled_dot_product_attention(q, k, v, scale=1 / temperature)
    return found.transpose(1, 2).unflatten(2, query.shape[2:])


class MemoryCompensation(nn.Module):
    """A pyramid of warped features -> their ``Compensation``, level by level.

    All levels share one bank; what differs by level is its projection and its restoration.
    """

    def __init__(self, config: MemoryConfig, level_widths: list[int], num_kp: int) -> None:
        super().__init__()
        channels = config.channels
        halves = [width // 2 for width in level_widths]
        self.temperature = config.temperature
        self.project = nn.ModuleList(nn.Conv2d(half, channels, kernel_size=1) for half in halves)
        self.identity = ImplicitIdentity(channels, num_kp, config.identity_hidden, config.identity)
        self.meta_memory = MetaMemory(
            channels, config.size, config.kernels, config.kernel_temperature
        )
        self.query = nn.Conv2d(channels, channels, kernel_size=1)
        self.difference = nn.Conv2d(channels, channels, kernel_size=1)
        self.restore = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, half, kernel_size=3, padding=1),
                nn.InstanceNorm2d(half, affine=True),
                nn.ReLU(),
            )
            for half in halves
        )

    def forward(
        self, pyramid: list[Tensor], source_positions: Tensor, noise: Tensor | None = None
    ) -> list[Compensation]:
        """Warped features, the source's keypoint positions (B, K, 2), noise (B, levels, S, S)."""
        level_noise = [None] * len(pyramid) if noise is None else noise.unbind(dim=1)
        return [
            self.compensate(level, warped, source_positions, noise)
            for level, (warped, noise) in enumerate(zip(pyramid, level_noise, strict=True))
        ]

    def compensate(
        self, level: int, warped: Tensor, source_positions: Tensor, noise: Tensor | None
    ) -> Compensation:
        kept, lacking = split_channels(warped)
        projected = self.project[level](lacking)
        identity = self.identity(projected, source_positions)
        memory = self.meta_memory.condition(identity, noise)
        keys, values = self.meta_memory.keys_and_values(memory, projected)

        query = F.relu(self.query(projected))
        read = read_memory(query, keys, values, self.temperature)
        difference = F.relu(self.difference(projected - read))
        rebuilt = self.restore[level](difference + projected)
        compensated = merge_channels(kept, rebuilt)
        return Compensation(
            warped, projected, identity, memory, query, keys, values, read, compensated
        )
