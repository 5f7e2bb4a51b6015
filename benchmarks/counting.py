"""Parameters and floating-point operations of the network, by part.

Counted are convolutions, matrix products and attention, a multiplication with its addition as two
operations; warps, norms and the like are not, nor what a kernel saves inside (Winograd's, say).
"""

from collections.abc import Callable
from copy import deepcopy
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from modules.mcnet import MCNet


def attention_flops(query: list[int], key: list[int], value: list[int], *_: Any, **__: Any) -> int:
    """Of both products, from shapes (..., positions, channels)."""
    return 2 * prod(query[:-1]) * key[-2] * (key[-1] + value[-1])


# Attention on a processor: PyTorch counts that on GPUs alone.
ALSO_COUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}


class Part(NamedTuple):
    """A box of the paper's figure."""

    name: str
    parameters: int
    flops: int  # of one picture
    needed_for: str  # "source", "driving frame" or "both"


class Counts(NamedTuple):
    """The whole network at one size of pictures."""

    parts: list[Part]

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)

    @property
    def driving_flops(self) -> int:
        """What a driving frame asks for, given an encoded source."""
        return sum(part.flops for part in self.parts if part.needed_for != "source")

    @property
    def source_flops(self) -> int:
        """What a source asks for, once."""
        return sum(part.flops for part in self.parts if part.needed_for != "driving frame")

    @property
    def frame_flops(self) -> int:
        """What ``MCNet.forward`` computes for every frame."""
        return self.driving_flops + self.source_flops


def count_parts(model: MCNet, size: tuple[int, int]) -> Counts:
    """The parts of a network that sees pictures of ``size`` (H, W)."""
    # The counter tells parts apart by hooks that want no gradients.
    model = deepcopy(model).eval().requires_grad_(False)
    picture = torch.rand(1, 3, *size, device=next(model.parameters()).device)
    with counter() as counted:
        model(picture, picture)
    by_module = counted.get_flop_counts()

    def part(name: str, module: str, needed_for: str, calls: int = 1) -> Part:
        flops = sum(by_module[f"{type(model).__name__}.{module}"].values())
        parameters = count_parameters(model.get_submodule(module))
        return Part(name, parameters, flops // calls, needed_for)

    parts = [
        part("keypoint detector", "detector", "both", calls=2),
        part("dense motion", "dense_motion", "driving frame"),
        part("encoder", "generator.encoder", "source"),
        part("decoder", "generator.decoder", "driving frame"),
    ]
    if model.config.memory is not None:
        parts.insert(3, part("memory", "generator.memory", "driving frame"))
    return Counts(parts)


def count_flops(call: Callable[[], object]) -> int:
    """The operations of a call that needs no gradients."""
    with torch.inference_mode(), counter() as counted:
        call()
    return counted.get_total_flops()


def counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping=ALSO_COUNTED)


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
