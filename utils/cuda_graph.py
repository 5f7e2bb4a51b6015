"""CUDA graphs: the kernels of one call are recorded once and then launched together.

A GPU finishes a small batch, or a training step of a small network, before Python can launch its
several hundred kernels one by one.
"""

import gc
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Inputs = Any  # tensors and numbers in tuples and lists, in the same structure at every call
Shapes = tuple[torch.Size, ...]


class CudaGraph:
    """A function of CUDA tensors that is recorded after ``warm_up`` calls with equal shapes.

    The warm-up lets libraries choose kernels and reserve memory; a shape that comes less often is
    not worth a recording.  At every call with equal shapes the function must launch the same
    kernels, and read and write the same memory apart from its inputs and its result.  A number
    among its inputs is a scalar on the device while the function is recorded.
    """

    def __init__(self, function: Callable[..., Tensor], warm_up: int) -> None:
        self.function, self.warm_up = function, warm_up
        self.computed: Counter[Shapes] = Counter()  # calls that were not replayed
        self.recordings: dict[Shapes, Recording] = {}
        self.failed: torch.cuda.CUDAGraph | None = None  # kept: the allocator may still ask it
        self.stream: torch.cuda.Stream | None = None

    def __call__(self, *inputs: Inputs) -> Tensor:
        """Compute or replay the function; its result is in memory of its own.

        An input that is the same object as at the last call is taken to hold the same values.
        """
        shapes = shapes_of(inputs)
        if shapes not in self.recordings and self.computed[shapes] >= self.warm_up:
            self.record(shapes, inputs)
        if shapes in self.recordings:
            return self.recordings[shapes].replay(inputs)
        self.computed[shapes] += 1
        return self.compute(inputs)

    def compute(self, inputs: tuple[Inputs, ...]) -> Tensor:
        """Call the function on the stream of the recordings, in order with the current stream.

        Libraries set up their workspaces for each stream, which must not happen while recording.
        """
        if self.stream is None:
            self.stream = torch.cuda.Stream(device_of(inputs))
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = self.function(*inputs)
        current.wait_stream(self.stream)
        return result

    def record(self, shapes: Shapes, inputs: tuple[Inputs, ...]) -> None:
        """Record the function for inputs of these shapes, or warn and never try again."""
        if self.failed is not None:
            return
        assert self.stream is not None
        graph = torch.cuda.CUDAGraph()
        try:
            self.recordings[shapes] = Recording(graph, self.stream, self.function, inputs)
        except RuntimeError as error:
            graph.reset()  # gives its memory back
            self.failed = graph
            logger.warning("CUDA graphs are not used: %s", str(error).partition("\n")[0])


class Recording:
    """A call recorded into a graph on a stream, with the memory of its inputs and its result."""

    def __init__(
        self,
        graph: torch.cuda.CUDAGraph,
        stream: torch.cuda.Stream,
        function: Callable[..., Tensor],
        inputs: tuple[Inputs, ...],
    ) -> None:
        self.graph = graph
        self.inputs = copied(inputs, stream.device)  # where the graph reads them
        self.given = inputs  # what was last copied there
        gc.collect()  # frees memory, and CUDA objects that must not be freed while recording
        # The outer context leaves the stream where a failed recording does not.  Other threads,
        # such as the one that pins batches, may go on using the device.
        with (
            torch.cuda.stream(stream),
            torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
        ):
            self.result = function(*self.inputs)  # computed by the replays only

    def replay(self, inputs: tuple[Inputs, ...]) -> Tensor:
        """Compute the result for inputs of the same shapes."""
        for own, new, last in zip(self.inputs, inputs, self.given, strict=True):
            if new is not last:
                copy_into(own, new)
        self.given = inputs
        self.graph.replay()
        return self.result.clone()


def leaves(inputs: Inputs) -> list[Tensor | float]:
    """List the tensors and numbers of nested inputs, in order."""
    if isinstance(inputs, Tensor | float | int):
        return [inputs]
    return [leaf for part in inputs for leaf in leaves(part)]


def shapes_of(inputs: Inputs) -> Shapes:
    """List the shapes of all tensors; a number has that of a scalar."""
    return tuple(x.shape if isinstance(x, Tensor) else torch.Size() for x in leaves(inputs))


def device_of(inputs: Inputs) -> torch.device:
    """Find the device of the first tensor."""
    return next(x.device for x in leaves(inputs) if isinstance(x, Tensor))


def copied(inputs: Inputs, device: torch.device) -> Inputs:
    """Copy nested inputs, in the same memory layout; numbers become scalars on the device."""
    if isinstance(inputs, Tensor):
        return inputs.clone()
    if isinstance(inputs, float | int):
        return torch.full((), float(inputs), device=device)
    parts = [copied(part, device) for part in inputs]
    return type(inputs)(*parts) if hasattr(inputs, "_fields") else type(inputs)(parts)


def copy_into(own: Inputs, new: Inputs) -> None:
    """Copy the values of ``new`` into the tensors of ``own``, which has the same structure."""
    for target, value in zip(leaves(own), leaves(new), strict=True):
        assert isinstance(target, Tensor)
        if isinstance(value, Tensor):
            target.copy_(value)
        else:
            target.fill_(value)
