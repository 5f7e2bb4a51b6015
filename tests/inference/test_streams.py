"""Tests of the streams that compute batches side by side."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
import torch

from inference.streams import MOST_THREADS, Streams

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 3])
def test_outputs_come_in_the_order_of_the_items(threads: int) -> None:
    torch.set_num_threads(threads)
    delays = [0.03, 0.0, 0.02, 0.0, 0.01]

    def wait(item: tuple[int, float]) -> int:
        number, delay = item
        time.sleep(delay)
        return number

    assert list(Streams(CPU).map(wait, enumerate(delays))) == [0, 1, 2, 3, 4]


def test_as_many_items_as_threads_are_computed_at_once(two_threads: None) -> None:
    both = threading.Barrier(2)
    assert sorted(Streams(CPU).map(lambda _: both.wait(timeout=20), range(4))) == [0, 0, 1, 1]


def test_a_thread_computes_alone_and_the_caller_keeps_its_threads(two_threads: None) -> None:
    streams = Streams(CPU)
    assert list(streams.map(lambda _: torch.get_num_threads(), range(4))) == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2


def test_the_threads_end_with_their_streams(two_threads: None) -> None:
    before = set(threading.enumerate())
    assert list(Streams(CPU).map(lambda number: number, range(4))) == [0, 1, 2, 3]
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=20)
        assert not thread.is_alive()


def test_many_cores_share_few_streams() -> None:
    torch.set_num_threads(3 * MOST_THREADS)
    streams = Streams(CPU)
    assert streams.count == MOST_THREADS
    assert next(streams.map(lambda _: torch.get_num_threads(), range(1))) == 3


def test_denormals_are_flushed_in_every_thread(two_threads: None) -> None:
    torch.set_flush_denormal(False)
    found = Streams(CPU).map(lambda _: (torch.full((1,), 1e-30) * 1e-10).item(), range(4))
    assert list(found) == [0.0] * 4


def test_items_are_taken_only_as_far_ahead_as_is_computed(two_threads: None) -> None:
    items = itertools.count()
    outputs = Streams(CPU).map(lambda number: number, items)
    assert [next(outputs), next(outputs)] == [0, 1]
    assert next(items) == 4  # two outputs, and one item for each thread


def breaking_off() -> Iterator[int]:
    yield from (3, 2)
    raise ZeroDivisionError


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("items", [lambda: [3, 2, 1, 0], breaking_off], ids=["function", "items"])
def test_an_error_is_raised_where_its_output_would_have_come(
    threads: int, items: Callable[[], Iterable[int]]
) -> None:
    torch.set_num_threads(threads)
    outputs = Streams(CPU).map(lambda number: 6 / (number - 1), items())
    assert [next(outputs), next(outputs)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(outputs)


def test_other_devices_are_called_by_the_thread_itself() -> None:
    caller = threading.get_ident()
    called = Streams(torch.device("cuda")).map(lambda _: threading.get_ident(), range(3))
    assert list(called) == [caller] * 3
