import itertools
import time

import numpy as np
import pytest
import torch

from benchmarks import timing
from benchmarks.timing import Spread, seconds_per_call, time_interleaved

CPU = torch.device("cpu")


def test_a_spread_is_the_median_and_the_quartiles():
    values = [4.0, 1.0, 3.0, 2.0, 5.0]
    spread = Spread.of(values)
    assert (spread.lowest, spread.median, spread.highest) == (1, 3, 5)
    assert spread.quartiles == (2, 4)
    assert spread.repeats == 5


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def advance(seconds: float) -> None:
        now[0] += seconds

    return advance


def test_calls_time_interleaved_after_their_warm_up(clock):
    made = []

    def call(name: str, seconds: float) -> None:
        made.append(name)
        clock(seconds)

    calls = {"a": lambda: call("a", 0.1), "b": lambda: call("b", 0.2)}
    took = time_interleaved(calls, seconds=1.15, device=CPU)
    assert made[: 2 * timing.WARM_UPS] == ["a"] * timing.WARM_UPS + ["b"] * timing.WARM_UPS
    assert made[2 * timing.WARM_UPS :] == ["a", "b"] * 4
    assert (np.median(took["a"]), np.median(took["b"])) == pytest.approx((0.1, 0.2))
    assert len(took["a"]) == len(took["b"]) == 4


def test_one_long_call_is_warm_up_enough(clock):
    numbers = itertools.count()

    def call() -> None:
        next(numbers)
        clock(2 * timing.LONG)

    time_interleaved({"a": call}, seconds=0, device=CPU)
    assert next(numbers) == 1 + timing.FEWEST


def test_without_time_the_fewest_measurements_are_made(clock):
    took = time_interleaved({"a": lambda: clock(1)}, seconds=0, device=CPU)
    assert len(took["a"]) == timing.FEWEST


def test_with_too_much_time_the_most_measurements_are_made(clock):
    took = time_interleaved({"a": lambda: clock(1)}, seconds=1e9, device=CPU)
    assert len(took["a"]) == timing.MOST


def test_short_calls_are_repeated_within_a_measurement(clock):
    numbers = itertools.count()

    def call() -> None:
        next(numbers)
        clock(timing.SHORTEST / 10)

    took = time_interleaved({"a": call}, seconds=0, device=CPU)
    assert next(numbers) == timing.WARM_UPS + 10 * timing.FEWEST
    assert np.median(took["a"]) == pytest.approx(timing.SHORTEST / 10)


def test_a_call_too_short_for_the_clock_is_measured(clock):
    took = time_interleaved({"a": lambda: None}, seconds=0, device=CPU)
    assert np.median(took["a"]) == 0


def test_seconds_are_those_of_one_call(clock):
    assert seconds_per_call(lambda: clock(3), 4, CPU) == 3
