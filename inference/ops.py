"""Operations of the fused network that a CPU and a GPU compute best in different ways.

On a CPU convolutions are faster than matrix products (in PyTorch, on channels-last features), and
pieces that fit into the cache are faster than the whole at once.  On a GPU the fewest and largest
matrix products win.

B samples, C channels, H x W positions of a level, S x S positions of the memory.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.geometry import resize, warp

OUTSIDE = 1e4  # beyond any picture, in [-1, 1]
ATTENTION_QUERIES = 2**11  # at once on a CPU: their logits stay in its cache


class Ops(NamedTuple):
    """Operations of the fused network in one form each."""

    warp_visible: Callable[[Tensor, Tensor, Tensor], Tensor]
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]
    convolve_each: Callable[[Tensor, Tensor, Tensor], Tensor]
    replace_half: Callable[[Tensor, Tensor], Tensor]
    normalise: Callable[[Tensor, nn.Module], Tensor]


def warp_visible(feature: Tensor, deformation: Tensor, occlusion: Tensor) -> Tensor:
    """Warp a feature (1 or B, C, H, W) by (B, h, w, 2), times the occlusion (B, 1, h, w).

    Equals ``modules.generator.warp_visible``.  A position is a row of C channels in a table; the
    result is a sum of four neighbouring rows, weighted bilinearly and by the occlusion.
    """
    channels, height, width = feature.shape[1:]
    finite = deformation.nan_to_num(OUTSIDE, OUTSIDE, -OUTSIDE)
    x, y = resize(finite.permute(0, 3, 1, 2), (height, width)).unbind(dim=1)  # (B, H, W)
    column, across = neighbours((x + 1).mul_((width - 1) / 2), width)
    row, down = neighbours((y + 1).mul_((height - 1) / 2), height)
    visible = resize(occlusion, (height, width))[:, 0]
    down = [share.mul_(visible) for share in down]
    place = row.mul_(width).add_(column)
    if len(feature) > 1:
        starts = torch.arange(len(feature), device=place.device, dtype=place.dtype)
        place += height * width * starts[:, None, None]
    # One write for each corner, since ``torch.stack`` is slow along the last dimension.
    places = place.new_empty(*place.shape, 4)
    weights = feature.new_empty(*place.shape, 4)
    next_column, next_row = min(1, width - 1), width * min(1, height - 1)
    for corner in range(4):
        i, j = divmod(corner, 2)
        torch.add(place, i * next_row + j * next_column, out=places[..., corner])
        torch.mul(down[i], across[j], out=weights[..., corner])
    warped = F.embedding_bag(
        places.flatten(0, 2),
        feature.permute(0, 2, 3, 1).reshape(-1, channels),
        per_sample_weights=weights.flatten(0, 2),
        mode="sum",
    )
    return warped.view(len(x), height, width, channels).permute(0, 3, 1, 2)


def warp_visible_by_sampling(feature: Tensor, deformation: Tensor, occlusion: Tensor) -> Tensor:
    """Warp a feature (B, C, H, W) by (B, h, w, 2), times the occlusion (B, 1, h, w)."""
    return warp(feature, deformation) * resize(occlusion, feature.shape[-2:])


def neighbours(position: Tensor, size: int) -> tuple[Tensor, list[Tensor]]:
    """Find the first of two neighbouring pixels of each position on a line, and their weights.

    Positions are in pixels, the weights bilinear.  Beyond the ends of the line the weight is that
    of a line that goes on with zeros.
    """
    first = position.floor().clamp_(0, max(size - 2, 0))
    behind = position - first
    here = (1 - behind.abs()).clamp_min_(0)
    following = (1 - behind.sub_(1).abs_()).clamp_min_(0)
    return first.int(), [here, following]


def attend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend to the memory, ``softmax(query keys) values``, without a temperature: (B, C, H, W).

    The query is (B, C, H, W), keys and values are (B, C, S, S).
    """
    if query.device.type == "cpu":
        return attend_by_convolutions(query, keys, values)
    return attend_by_products(query, keys, values)


def attend_by_products(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend in all samples at once; several hundred channels are too many for fused kernels."""
    q, k, v = (x.flatten(2).mT for x in (query, keys, values))  # (B, positions, C)
    found = (q @ k.mT).softmax(dim=-1) @ v
    return found.mT.unflatten(2, query.shape[2:])


def attend_by_convolutions(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend by 1 x 1 convolutions whose kernels are keys and values, a few rows at once."""
    found = torch.empty_like(query)
    rows = max(ATTENTION_QUERIES // query.shape[3], 1)
    for one, key, value, out in zip(query.split(1), keys, values, found.split(1), strict=True):
        k = key.flatten(1).T[:, :, None, None]  # (S S, C, 1, 1)
        v = value.flatten(1)[:, :, None, None].contiguous()  # (C, S S, 1, 1)
        for some, part in zip(one.split(rows, dim=2), out.split(rows, dim=2), strict=True):
            logits = F.conv2d(some, k).permute(0, 2, 3, 1)  # contiguous
            part.copy_(F.conv2d(logits.softmax(dim=-1).permute(0, 3, 1, 2), v))
    return found


def convolve_each(x: Tensor, kernels: Tensor, biases: Tensor) -> Tensor:
    """Convolve each of (B, C, S, S) with its own kernel (B, O, 3, 3, C) and bias (B, O).

    Returns (B, O, S, S).  A grouped convolution would be slow on either device.
    """
    if x.device.type == "cpu":
        return convolve_one_by_one(x, kernels, biases)
    return convolve_by_products(x, kernels, biases)


def convolve_one_by_one(x: Tensor, kernels: Tensor, biases: Tensor) -> Tensor:
    """Convolve one sample after the other."""
    samples = zip(x.split(1), kernels.permute(0, 1, 4, 2, 3), biases, strict=True)
    return torch.cat([F.conv2d(one, kernel, bias, padding=1) for one, kernel, bias in samples])


def convolve_by_products(x: Tensor, kernels: Tensor, biases: Tensor) -> Tensor:
    """Convolve by one matrix product a sample: its kernel times the patches at all positions."""
    height, width = x.shape[2:]
    padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (B, S + 2, S + 2, C)
    shifted = [padded[:, u : u + height, v : v + width] for u in range(3) for v in range(3)]
    seen = torch.stack(shifted, dim=3).flatten(3).flatten(1, 2)  # (B, S S, 9 C)
    convolved = torch.baddbmm(biases[:, None], seen, kernels.flatten(2).mT)  # (B, S S, O)
    return convolved.mT.unflatten(2, (height, width))


def write_half(feature: Tensor, half: Tensor) -> Tensor:
    """Replace the second half of the channels of (B, 2 c, H, W) in place by (B, c, H, W)."""
    feature.chunk(2, dim=1)[1].copy_(half)
    return feature


def join_half(feature: Tensor, half: Tensor) -> Tensor:
    """Join (B, c, H, W) to the first half of the channels of (B, 2 c, H, W): (B, 2 c, H, W)."""
    return torch.cat([feature.chunk(2, dim=1)[0], half], dim=1)


def normalise(feature: Tensor, norm: nn.Module) -> Tensor:
    """Apply an instance norm to (B, C, H, W); on a CPU as a norm of groups of one channel.

    That keeps channels last, and takes a fifth of the time.
    """
    assert isinstance(norm, nn.InstanceNorm2d)
    if feature.device.type == "cpu":
        return F.group_norm(feature, norm.num_features, norm.weight, norm.bias, norm.eps)
    return normalise_by_instance(feature, norm)


def normalise_by_instance(feature: Tensor, norm: nn.Module) -> Tensor:
    """Apply an instance norm to (B, C, H, W)."""
    normalised: Tensor = norm(feature)
    return normalised


FAST = Ops(warp_visible, attend, convolve_each, write_half, normalise)
# Other runtimes know these, with a batch of one: sampling, products and convolutions.
PORTABLE = Ops(
    warp_visible_by_sampling,
    attend_by_products,
    convolve_one_by_one,
    join_half,
    normalise_by_instance,
)
