"""When a call is computed, recorded or replayed; tests/test_gpu.py shows that replays are right."""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from modules.geometry import Keypoints
from tests.tiny import random_keypoints
from utils.cuda_graph import CudaGraph, copied, copy_into, leaves

CPU = torch.device("cpu")


class FakeStream:
    def __init__(self, device: torch.device) -> None:
        self.device = device

    def wait_stream(self, other: "FakeStream") -> None:
        pass


class FakeGraph:
    """Computes again what was called while it was recorded, from the memory it was called with."""

    recorded: "FakeGraph | None" = None  # the one that is being recorded
    was_reset = False
    replay: Callable[[], Any]

    def reset(self) -> None:
        self.was_reset = True

    @classmethod
    @contextmanager
    def context(cls, graph: "FakeGraph", **options: Any):
        cls.recorded = graph
        try:
            yield
        finally:
            cls.recorded = None


class Product:
    """Multiplies its inputs, and remembers which calls were recorded."""

    def __init__(self) -> None:
        self.recorded: list[bool] = []

    def __call__(self, constant: Tensor, varying: list[Tensor], factor: float | Tensor) -> Tensor:
        graph = FakeGraph.recorded
        self.recorded.append(graph is not None)
        assert isinstance(factor, Tensor) == (graph is not None)
        result = constant * varying[0] * factor
        if graph is not None:
            graph.replay = lambda: result.copy_(constant * varying[0] * factor)
            result.fill_(torch.nan)  # nothing is computed yet
        return result


@pytest.fixture(autouse=True)
def device(monkeypatch) -> None:
    for name, fake in {
        "Stream": FakeStream,
        "current_stream": FakeStream,
        "stream": nullcontext,
        "CUDAGraph": FakeGraph,
        "graph": FakeGraph.context,
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)


def test_every_call_computes_once_with_its_own_inputs():
    product = Product()
    graph = CudaGraph(product, warm_up=3)
    constants = torch.full((2,), 10.0), torch.full((2,), 20.0)
    for i, constant in enumerate([*constants, *constants, *constants[:1] * 2]):
        result = graph(constant, [torch.full((2,), float(i))], 1.0 + i)
        assert result.tolist() == [constant[0].item() * i * (1 + i)] * 2
    assert product.recorded == [False, False, False, True]  # the rest is replayed
    assert graph(constants[0], [torch.ones(2)], 2.0).tolist() == [20, 20]


def test_a_result_is_not_overwritten_by_the_next_replay():
    graph, one = CudaGraph(Product(), warm_up=1), torch.ones(2)
    results = [graph(one, [i * one], 1.0) for i in range(4)]
    assert [result[0].item() for result in results] == [0, 1, 2, 3]


def test_a_call_of_another_shape_is_computed_and_the_recording_stays():
    product = Product()
    graph = CudaGraph(product, warm_up=3)
    for size in (2, 2, 2, 2, 3, 2):
        assert graph(torch.ones(1), [torch.ones(size)], 1.0).shape == (size,)
    assert product.recorded == [False, False, False, True, False]


def test_only_calls_of_one_shape_prepare_its_recording():
    graph = CudaGraph(Product(), warm_up=3)
    for size in (2, 3, 2, 3, 2, 3):
        graph(torch.ones(1), [torch.ones(size)], 1.0)
    assert not graph.recordings


def test_a_function_that_cannot_be_recorded_is_computed(monkeypatch, caplog):
    attempts: list[FakeGraph] = []

    def refuse(graph: FakeGraph, **_: Any) -> None:
        attempts.append(graph)
        raise RuntimeError("operation not permitted\nwhen capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    product, one = Product(), torch.ones(3)
    graph = CudaGraph(product, warm_up=1)
    for factor in (1.0, 2.0, 3.0, 4.0):
        torch.testing.assert_close(graph(one, [one], factor), factor * one)
    assert product.recorded == [False] * 4
    assert [attempt.was_reset for attempt in attempts] == [True]
    assert [record.message for record in caplog.records] == [
        "CUDA graphs are not used: operation not permitted"
    ]


def test_the_leaves_of_inputs_are_in_their_order():
    first, second = random_keypoints(seed=1), random_keypoints(seed=2)
    found = leaves((first, [second.positions, 0.5]))
    assert [id(leaf) for leaf in found[:-1]] == [id(x) for x in (*first, second.positions)]
    assert found[-1] == 0.5


def test_copies_have_the_structure_and_layout_but_memory_of_their_own():
    image = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    keypoints, (copy,), number = copied((random_keypoints(), [image], 0.5), CPU)
    assert isinstance(keypoints, Keypoints)
    assert copy.stride() == image.stride()
    assert copy.data_ptr() != image.data_ptr()
    torch.testing.assert_close(copy, image)
    copy_into([copy, number], [1 - image, 2.5])
    torch.testing.assert_close(copy, 1 - image)
    assert number.item() == 2.5
