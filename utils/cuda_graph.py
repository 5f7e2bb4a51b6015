"""Rendering replayed: the kernels of one call recorded as a CUDA graph, and launched at once.

A GPU computes a small batch sooner than Python can ask for its several hundred kernels.  A
recording holds for the shapes that it was made with, and reads its inputs where they were then.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Inputs = Any  # tensors in tuples and lists, in the same structure at every call


class Replay:
    """``function`` of tensors on a CUDA device, recorded at the second call with equal shapes.

    The first call chooses kernels and reserves memory, and a batch of a rare size is not worth a
    recording.  Of the two inputs one is expected to be the same object at many calls: it is copied
    when it is another.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.recordings: dict[Any, Recording | None] = {}
        self.works = True

    def __call__(self, constant: Inputs, varying: Inputs) -> Tensor:
        """What ``function`` returns, in memory of its own."""
        key = tuple(tensor.shape for tensor in flat((constant, varying)))
        if not self.works or key not in self.recordings:
            self.recordings[key] = None
            return self.function(constant, varying)
        recording = self.recordings[key]
        if recording is None:
            try:
                recording = Recording(self.function, constant, varying)
            except RuntimeError as error:
                self.works = False
                logger.warning("CUDA graphs are not used: %s", str(error).splitlines()[0])
                return self.function(constant, varying)
            self.recordings[key] = recording
        return recording.replay(constant, varying)


class Recording:
    """One CUDA graph, with the memory of its inputs and of its result."""

    def __init__(self, function: Callable[..., Tensor], constant: Inputs, varying: Inputs) -> None:
        self.constant, self.varying = copied(constant), copied(varying)
        self.copied = constant
        self.graph = torch.cuda.CUDAGraph()
        side, computing = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(computing)
        with torch.cuda.stream(side):  # libraries set up their workspaces for a stream at first use
            function(self.constant, self.varying)
        computing.wait_stream(side)
        # Other threads may go on using the device: they have nothing to do with the recording.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.result = function(self.constant, self.varying)

    def replay(self, constant: Inputs, varying: Inputs) -> Tensor:
        """The result for other inputs of the same shapes."""
        if constant is not self.copied:
            copy_into(self.constant, constant)
            self.copied = constant
        copy_into(self.varying, varying)
        self.graph.replay()
        return self.result.clone()


def flat(inputs: Inputs) -> list[Tensor]:
    """The tensors, in order."""
    if isinstance(inputs, Tensor):
        return [inputs]
    return [tensor for part in inputs for tensor in flat(part)]


def copied(inputs: Inputs) -> Inputs:
    """The same structure with tensors of its own, in the same layout."""
    if isinstance(inputs, Tensor):
        return inputs.clone()
    parts = [copied(part) for part in inputs]
    return type(inputs)(*parts) if hasattr(inputs, "_fields") else type(inputs)(parts)


def copy_into(mine: Inputs, theirs: Inputs) -> None:
    for target, tensor in zip(flat(mine), flat(theirs), strict=True):
        target.copy_(tensor)
