"""Memory compensation: fills in from the memory what a warped feature lacks.

Half of the channels are kept; the other half are compared with what attention reads from the memory
of this face, and rebuilt (MCNet).  B samples, C channels, H x W positions of a level, S x S
positions of the memory.
"""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.attention import Attention, DotAttention, LocatedAttention, Reading
from modules.geometry import Keypoints
from modules.implicit_identity import Evidence, ImplicitIdentity
from modules.meta_memory import MetaMemory
from utils.section import Section


class MemoryConfig(Section):
    """Section ``model.memory``: the meta-memory bank and how all levels read it."""

    channels: PositiveInt = 512  # of the bank, and of the features that query it
    size: PositiveInt = 32  # the bank has size x size positions
    identity: Evidence = "keypoints and feature"  # inputs of the identity representation
    identity_hidden: PositiveInt = 128  # of its MLP
    kernels: PositiveInt = 4  # mixed into the kernel that makes keys and values
    kernel_temperature: PositiveFloat = 34.0  # divides the logits of that mixture
    attention: Literal["dot", "located"] = "dot"  # "dot" is the published form
    temperature: PositiveFloat = 4.0  # divides the attention logits of "dot"
    scale: PositiveFloat = 30.0  # multiplies the cosines of "located"
    levels: PositiveInt | None = None  # that read the memory, from the coarsest; None is all


class LevelMemory(NamedTuple):
    """The memory of one level: the bank conditioned on the identity."""

    identity: Tensor  # (B, C)
    memory: Tensor  # (B, C, S, S), conditioned on the identity
    keys: Tensor  # (B, C, S, S)
    values: Tensor  # (B, C, S, S)


class Compensation(NamedTuple):
    """The compensation of one level, step by step."""

    warped: Tensor  # (B, 2 c, H, W)
    projected: Tensor  # (B, C, H, W): the lacking half of the warped feature, in memory channels
    identity: Tensor  # (B, C)
    memory: Tensor  # (B, C, S, S), conditioned on the identity
    keys: Tensor  # (B, C, S, S)
    values: Tensor  # (B, C, S, S)
    query: Tensor  # (B, C, H, W)
    read: Tensor  # (B, C, H, W), by the attention from the memory
    usage: Tensor  # (B, S S): the share of each slot in it, mean over the positions
    entropy: Tensor  # (B,): of a position's attention, in nats, mean over the positions; detached
    compensated: Tensor  # (B, 2 c, H, W)


def split_channels(feature: Tensor) -> tuple[Tensor, Tensor]:
    """Split (B, 2 c, H, W) into even channels, which are kept, and odd ones, which are rebuilt.

    Returns (B, c, H, W) each.  As in ``merge_channels`` channels last is used in between, which is
    the layout of all features in training, and of their gradients.
    """
    kept, lacking = feature.movedim(1, -1).unflatten(-1, (-1, 2)).unbind(dim=-1)
    return kept.movedim(-1, 1), lacking.movedim(-1, 1)


def merge_channels(kept: Tensor, rebuilt: Tensor) -> Tensor:
    """Interleave two halves, as ``split_channels`` gave them: (B, 2 c, H, W)."""
    pairs = torch.stack([kept.movedim(1, -1), rebuilt.movedim(1, -1)], dim=-1)
    return pairs.flatten(-2).movedim(-1, 1)


def split_pyramid(pyramid: list[Tensor], num_levels: int) -> tuple[list[Tensor], list[Tensor]]:
    """Split a pyramid of (B, C, H, W), finest first, before its ``num_levels`` coarsest levels."""
    first = len(pyramid) - num_levels
    return pyramid[:first], pyramid[first:]


def build_attention(config: MemoryConfig, num_points: int) -> Attention:
    """Build the configured attention; ``num_points`` is for the located one."""
    if config.attention == "dot":
        return DotAttention(config.temperature)
    return LocatedAttention(config.channels, num_points, config.scale)


class MemoryCompensation(nn.Module):
    """Memory compensation of a pyramid of warped features.

    All levels share one bank; each has its own projection and restoration.
    """

    def __init__(
        self, config: MemoryConfig, level_widths: list[int], num_kp: int, num_landmarks: int = 0
    ) -> None:
        super().__init__()
        channels = config.channels
        halves = [width // 2 for width in level_widths]
        self.project = nn.ModuleList(nn.Conv2d(half, channels, kernel_size=1) for half in halves)
        self.identity = ImplicitIdentity(
            channels, num_kp, config.identity_hidden, config.identity, num_landmarks
        )
        self.attention = build_attention(config, num_kp + num_landmarks)
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
        self,
        pyramid: list[Tensor],
        source_keypoints: Keypoints,
        driving_keypoints: Keypoints,
        noise: Tensor | None = None,
    ) -> list[Compensation]:
        """Compensate warped features (B, 2 c, H, W), with noise (B, levels, S, S) if given."""
        projected = self.projected(pyramid)
        memories = self.memories(projected, source_keypoints, noise)
        return [
            self.compensate(warped, feature, memory, restore, driving_keypoints)
            for warped, feature, memory, restore in zip(
                pyramid, projected, memories, self.restore, strict=True
            )
        ]

    def projected(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Project the lacking halves of features (B, 2 c, H, W) to (B, C, H, W)."""
        lacking = [split_channels(feature)[1] for feature in pyramid]
        return [project(half) for project, half in zip(self.project, lacking, strict=True)]

    def memories(
        self, projected: list[Tensor], source_keypoints: Keypoints, noise: Tensor | None
    ) -> list[LevelMemory]:
        """Condition the bank for all levels in one batch, from projected features (B, C, H, W)."""
        identity = torch.cat([self.identity(level, source_keypoints) for level in projected])
        pooled = torch.cat([level.mean(dim=(2, 3)) for level in projected])
        if noise is not None:
            noise = noise.transpose(0, 1).flatten(0, 1)  # level after level, as the others
        memory = self.meta_memory.condition(identity, noise)
        convolved = self.meta_memory.key_value_conv(memory, pooled)
        keys, values = self.attention.keys_and_values(convolved)
        levels = (part.chunk(len(projected)) for part in (identity, memory, keys, values))
        return [LevelMemory(*parts) for parts in zip(*levels, strict=True)]

    def compensate(
        self,
        warped: Tensor,
        projected: Tensor,
        memory: LevelMemory,
        restore: nn.Module,
        driving_keypoints: Keypoints,
    ) -> Compensation:
        """Compensate one level (B, 2 c, H, W) by what it reads from its memory."""
        kept, _ = split_channels(warped)
        query = self.attention.query(self.query(projected), driving_keypoints)
        reading: Reading = self.attention(query, memory.keys, memory.values)
        difference = F.relu(self.difference(projected - reading.read))
        compensated = merge_channels(kept, restore(difference + projected))
        return Compensation(warped, projected, *memory, query, *reading, compensated)
