"""Which steps are taken and which are replayed; that these are right, tests/test_gpu.py shows."""

from typing import Any

import pytest
import torch
from torch import Tensor

from utils.cuda_graph import Inputs, copied
from utils.recorded_step import WARM_UP, Compute, RecordedStep


class OnProcessor(RecordedStep):
    """Without a GPU: its graph computes from the memory of its inputs into that of its result."""

    def record(self, compute: Compute, inputs: Inputs) -> None:
        self.inputs, self.result = copied(inputs), torch.full_like(inputs[0], torch.nan)
        self.graph = Graph(self, compute)

    def compute_beside(self, compute: Compute, inputs: Inputs, rate_factor: float) -> Tensor:
        return compute(inputs, rate_factor)


class Graph:
    def __init__(self, step: OnProcessor, compute: Compute) -> None:
        self.step, self.compute = step, compute

    def replay(self) -> None:
        self.step.result.copy_(self.compute(self.step.inputs, self.step.rate_factor))

    def reset(self) -> None:
        self.step.was_reset = True


@pytest.fixture
def step(monkeypatch) -> OnProcessor:
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: Graph(None, None))
    step = OnProcessor(torch.device("cpu"))
    step.graph.step = step
    return step


class Product:
    """Computes the product of an input and the factor, and remembers what it got."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def __call__(self, inputs: Inputs, rate_factor: float | Tensor) -> Tensor:
        self.got.append(rate_factor)
        return inputs[0] * rate_factor


def test_every_step_counts_once_and_with_its_own_inputs_and_rates(step):
    compute = Product()
    results = [
        step.take(compute, [torch.full((2,), float(i))], rate_factor=10.0 + i) for i in range(8)
    ]
    assert [result.tolist() for result in results] == [[i * (10.0 + i)] * 2 for i in range(8)]
    kinds = [isinstance(rate_factor, Tensor) for rate_factor in compute.got]
    assert kinds == [False] * WARM_UP + [True] * (8 - WARM_UP)


def test_a_step_of_another_shape_is_taken_and_the_recording_stays(step):
    compute = Product()
    for size in (2, 2, 2, 2, 3, 2):
        assert step.take(compute, [torch.ones(size)], 1.0).shape == (size,)
    kinds = [isinstance(rate_factor, Tensor) for rate_factor in compute.got]
    assert kinds == [False, False, False, True, False, True]


def test_only_steps_of_one_shape_prepare_its_recording(step):
    compute = Product()
    for size in (2, 3, 2, 3, 2, 3):
        step.take(compute, [torch.ones(size)], 1.0)
    assert step.result is None


def test_a_step_that_cannot_be_recorded_is_taken(step, monkeypatch, caplog):
    compute, attempts = Product(), []

    def refuse(*arguments: object) -> None:
        attempts.append(arguments)
        raise RuntimeError("operation not permitted\nwhen capturing")

    monkeypatch.setattr(step, "record", refuse)
    for i in range(6):
        assert step.take(compute, [torch.ones(2)], float(i)).tolist() == [i, i]
    assert compute.got == list(range(6))
    assert len(attempts) == 1
    assert step.was_reset
    assert [record.message for record in caplog.records] == [
        "Training steps are not recorded: operation not permitted"
    ]
