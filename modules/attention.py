"""Attention of a level's positions over the slots of the memory: as published, and located.

In the published form queries and keys are ReLUs, whose products are never negative: one slot can
win everywhere, and a trained network may read nothing else.  Located attention knows where on the
driving face a position lies, also where the source shows nothing, and compares directions.
B samples, C channels, H x W positions of a level, S x S slots of the memory.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from modules.geometry import Keypoints, full_precision, gaussian_lines

LANDMARK_VARIANCE = 0.0025  # of a landmark's Gaussian: landmarks stand closer than keypoints do
SMALLEST_NORM = 1e-6
SMALLEST_SHARE = 1e-8  # of a slot: the slope of the entropy is infinite at 0


class Reading(NamedTuple):
    """The result of reading the memory at a level, and how attention is spread over the slots."""

    read: Tensor  # (B, C, H, W), the values weighted by the attention
    usage: Tensor  # (B, S S), the share of each slot, mean over the positions; sums to 1
    entropy: Tensor  # (B,), of a position's attention, in nats, mean over the positions; detached


class Attention(nn.Module, ABC):
    """One form of attention: how queries, keys and values are made from convolved features."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature  # divides the products of queries and keys

    @abstractmethod
    def query(self, feature: Tensor, driving_keypoints: Keypoints) -> Tensor:
        """Make queries (B, C, H, W) from a convolved feature, which may be overwritten."""

    @abstractmethod
    def keys_and_values(self, convolved: Tensor) -> tuple[Tensor, Tensor]:
        """Make keys and values (B, C, S, S) from (B, 2 C, S, S), which may be overwritten."""

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> Reading:
        """Read the memory, keys and values (B, C, S, S), by a query (B, C, H, W)."""
        return read_memory(query, keys, values, self.temperature)


class DotAttention(Attention):
    """Published attention: products of ReLUs."""

    def query(self, feature: Tensor, driving_keypoints: Keypoints) -> Tensor:
        return feature.relu_()

    def keys_and_values(self, convolved: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = convolved.relu_().chunk(2, dim=1)
        return keys, values


class LocatedAttention(Attention):
    """Located attention: cosines of keys with queries that know their place on the driving face.

    A query is the direction of the feature plus a projection of the Gaussians of the driving
    keypoints and landmarks.  Keys are centred over the slots, so that no direction fits them all.
    """

    def __init__(self, channels: int, num_points: int, scale: float) -> None:
        """Take ``num_points`` keypoints and landmarks; ``scale`` multiplies the cosines."""
        super().__init__(temperature=1 / scale)
        self.place = nn.Conv2d(num_points, channels, kernel_size=1, bias=False)

    def query(self, feature: Tensor, driving_keypoints: Keypoints) -> Tensor:
        maps = place_maps(driving_keypoints, feature.shape[-2:]).to(feature.dtype)
        return direction(direction(feature) + self.place(maps))

    def keys_and_values(self, convolved: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = convolved.chunk(2, dim=1)
        return direction(keys - keys.mean(dim=(2, 3), keepdim=True)), values


def place_maps(keypoints: Keypoints, size: tuple[int, ...]) -> Tensor:
    """Draw Gaussians of the keypoints, then of the landmarks: (B, K + L, H, W), float32.

    They are channels last, as the features are.
    """
    with full_precision(keypoints.positions):
        lines = [
            gaussian_lines(keypoints.positions, size),
            gaussian_lines(keypoints.landmarks, size, LANDMARK_VARIANCE),
        ]
        joined = (torch.cat(parts, dim=1) for parts in zip(*lines, strict=True))
        column, row = (line.mT.contiguous() for line in joined)  # (B, W, K + L), (B, H, K + L)
        maps = row[:, :, None] * column[:, None]  # (B, H, W, K + L)
    return maps.permute(0, 3, 1, 2)


def direction(x: Tensor) -> Tensor:
    """Normalise ``x`` (B, C, ...) to length 1 over the channels, in at least float32."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=dtype)
    return x / norm.clamp_min(SMALLEST_NORM).to(x.dtype)


def read_memory(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Reading:
    """Attend from every position to all slots, ``softmax(q . k / temperature)``.

    The query is (B, C, H, W), keys and values are (B, C, S, S).
    """
    q, k, v = (x.flatten(2).mT for x in (query / temperature, keys, values))  # (B, positions, C)
    attention = (q @ k.mT).softmax(dim=-1)  # (B, H W, S S)
    read = (attention @ v).mT.unflatten(2, query.shape[2:])
    dtype = torch.promote_types(attention.dtype, torch.float32)
    usage = attention.mean(dim=1, dtype=dtype)
    entropy = torch.special.entr(attention.detach()).sum(dim=-1, dtype=dtype).mean(dim=1)
    return Reading(read, usage, entropy)


def usage_entropy(usage: Tensor) -> Tensor:
    """Compute the entropy, in nats, of the slots' shares (B, S S) averaged over the batch."""
    shares = usage.mean(dim=0).clamp_min(SMALLEST_SHARE)
    return torch.special.entr(shares).sum()
