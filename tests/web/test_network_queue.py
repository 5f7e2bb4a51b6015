"""Turns of live and other clients on one thread."""

import threading
import time
from functools import partial

import pytest

from web.network_queue import Cancelled, NetworkQueue


@pytest.fixture
def queue():
    queue = NetworkQueue()
    yield queue
    queue.close()


def blocked(queue: NetworkQueue) -> threading.Event:
    """Keep the thread busy with a file until the event is set."""
    event, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        event.wait(10)

    queue.submit(wait, live=False)
    begun.wait(10)
    return event


def test_live_calls_go_first(queue):
    order: list[str] = []
    event = blocked(queue)
    calls = [queue.submit(lambda: order.append("file"), live=False)]
    calls += [queue.submit(lambda: order.append("live"), live=True) for _ in range(3)]
    event.set()
    for call in calls:
        call.result(10)
    assert order == ["live", "live", "live", "file"]


def test_files_have_a_fifth_of_the_time_while_live_clients_want_all(queue):
    order: list[str] = []
    event = blocked(queue)

    def work(kind: str) -> None:
        order.append(kind)
        time.sleep(0.01)

    calls = [
        queue.submit(partial(work, kind), live=kind == "live")
        for kind in ("live", "file")
        for _ in range(50)
    ]
    event.set()
    for call in calls:
        call.result(20)
    assert order[0] == "live"
    assert 6 <= order[:50].count("file") <= 14
    assert order.count("file") == 50


def test_an_error_is_raised_where_the_result_is_wanted(queue):
    with pytest.raises(ZeroDivisionError):
        queue.submit(lambda: 1 / 0, live=True).result(10)
    assert queue.submit(lambda: 3, live=True).result(10) == 3


def test_after_the_end_nothing_waits(queue):
    event = blocked(queue)
    waiting = queue.submit(lambda: 1, live=False)
    queue.close()
    with pytest.raises(Cancelled):
        waiting.result(10)
    with pytest.raises(Cancelled):
        queue.submit(lambda: 1, live=True)
    event.set()
