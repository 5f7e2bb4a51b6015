"""The plain network, with which every figure is compared: each layer as the paper defines it.

It is in float32 and renders every frame in full, with the kernels that PyTorch chooses by default.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.blocks import SameBlock, UpBlock
from modules.mcnet import MCNet

Returned = TypeVar("Returned")
Network = TypeVar("Network", bound=nn.Module)


class PlainUpBlock(UpBlock):
    """An up block as it is defined: the feature is doubled in size, and then convolved."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', 2 H, 2 W)."""
        return SameBlock.forward(self, F.interpolate(x, scale_factor=2.0, mode="nearest"))


def plain_network(network: Network) -> Network:
    """Exchange the layers of a network that save arithmetic for those that do not, in place."""
    for module in network.modules():
        if type(module) is UpBlock:
            module.__class__ = PlainUpBlock
    return network


def with_default_kernels(call: Callable[[], Returned]) -> Returned:
    """Make a call with PyTorch's default choice of kernels on CUDA, whatever has been set."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before, matmul.allow_tf32 = matmul.allow_tf32, False
    try:
        with cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=False,
            deterministic=cudnn.deterministic,
            allow_tf32=True,
        ):
            return call()
    finally:
        matmul.allow_tf32 = before


@torch.inference_mode()
def plain_frame(model: MCNet, source: Tensor, driving: Tensor) -> Tensor:
    """Render one driving frame (1, 3, H, W) in full: (1, 3, H, W) in [0, 1]."""
    return with_default_kernels(lambda: model(source, driving).prediction)
