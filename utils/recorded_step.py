"""A training step replayed: the kernels of one step recorded as a CUDA graph, launched at once.

A small network's step is thousands of kernels that Python asks for one by one, later than the GPU
could begin with them.  Recording computes nothing: what is recorded is first computed when it is
replayed.
"""

import gc
import logging
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from utils.cuda_graph import Inputs, copied, copy_into, flat

logger = logging.getLogger(__name__)

WARM_UP = 3  # steps taken before one is recorded: libraries choose kernels, Adam makes its state

Compute = Callable[[Inputs, float | Tensor], Tensor]


class RecordedStep:
    """One step, a function of its batches and of the factor of the learning rates.

    ``compute`` must launch the same kernels at every call with equal shapes, on the same memory
    but for its inputs and its result.  It gets the factor as a number or, where it is recorded, as
    a scalar on the device.
    """

    def __init__(self, device: torch.device) -> None:
        # Steps are taken and recorded on one stream, which libraries set up their workspaces for.
        self.stream = torch.cuda.Stream(device)
        self.graph = torch.cuda.CUDAGraph()  # kept if it fails: the allocator may still ask it
        self.rate_factor = torch.ones((), device=device)
        self.inputs: Inputs = None  # where the recording reads them
        self.result: Tensor | None = None  # and where it writes; None until there is a recording
        self.taken: Counter[tuple[torch.Size, ...]] = Counter()  # steps by the shapes of inputs
        self.works = True

    def take(self, compute: Compute, inputs: Inputs, rate_factor: float) -> Tensor:
        """Take a step; returns what ``compute`` does, in memory of its own."""
        shapes = shapes_of(inputs)
        if self.works and self.result is None and self.taken[shapes] >= WARM_UP:
            self.try_to_record(compute, inputs)
        if self.result is not None and shapes == shapes_of(self.inputs):
            return self.replay(inputs, rate_factor)
        self.taken[shapes] += 1
        return self.compute_beside(compute, inputs, rate_factor)

    def try_to_record(self, compute: Compute, inputs: Inputs) -> None:
        """Record a step, or warn and never try again."""
        try:
            self.record(compute, inputs)
        except RuntimeError as error:
            self.works, self.inputs = False, None
            self.graph.reset()  # gives its memory back
            logger.warning("Training steps are not recorded: %s", str(error).partition("\n")[0])

    def record(self, compute: Compute, inputs: Inputs) -> None:
        self.inputs = copied(inputs)
        gc.collect()  # frees memory, and CUDA objects that must not go while recording
        # The outer context leaves the stream where a failed recording does not.  Other threads,
        # as that which pins batches, may go on using the device.
        with (
            torch.cuda.stream(self.stream),
            torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"),
        ):
            result = compute(self.inputs, self.rate_factor)
        self.result = result

    def replay(self, inputs: Inputs, rate_factor: float) -> Tensor:
        assert self.result is not None
        copy_into(self.inputs, inputs)
        self.rate_factor.fill_(rate_factor)
        self.graph.replay()
        return self.result.clone()

    def compute_beside(self, compute: Compute, inputs: Inputs, rate_factor: float) -> Tensor:
        """Take a step on the stream of the recording, between what is queued before and after."""
        queued = torch.cuda.current_stream()
        self.stream.wait_stream(queued)
        with torch.cuda.stream(self.stream):
            result = compute(inputs, rate_factor)
        queued.wait_stream(self.stream)
        return result


def shapes_of(inputs: Inputs) -> tuple[torch.Size, ...]:
    return tuple(tensor.shape for tensor in flat(inputs))
