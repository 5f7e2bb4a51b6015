"""Activation checkpointing: blocks are computed again in the backward pass, to save memory.

Chen et al., *Training Deep Nets with Sublinear Memory Cost*, 2016.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from modules.blocks import ResidualBlock, SameBlock
from modules.memory_compensation import MemoryCompensation
from training.perceptual import PerceptualNetwork

# Most of the memory is in these methods, of which only inputs and results are kept
RECOMPUTED: dict[type[nn.Module], str] = {
    SameBlock: "forward",
    ResidualBlock: "forward",
    MemoryCompensation: "compensate",
    PerceptualNetwork: "forward",
}


def recompute_blocks(network: nn.Module) -> None:
    """Let the blocks of a network keep only their inputs; results and gradients stay the same."""
    for module in network.modules():
        for kind, method in RECOMPUTED.items():
            if isinstance(module, kind):
                setattr(module, method, recomputed(module, getattr(module, method)))


def recomputed(module: nn.Module, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method of a module so that its second run does not change the batch statistics."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), buffers_kept(module)

    # Nothing in a network is random: noise is an input.
    return partial(
        checkpoint, method, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
    )


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Restore the buffers of a module at the end of the block."""
    before = [buffer.clone() for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(module.buffers(), before, strict=True):
                buffer.copy_(value)
