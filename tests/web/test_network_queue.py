"""Turns of live and other clients on one thread."""

import threading
import time

import pytest

from web.network_queue import Cancelled, NetworkQueue


@pytest.fixture
def queue():
    queue = NetworkQueue()
    yield queue
    queue.close()


def blocked(queue: NetworkQueue) -> threading.Event:
    """Keep the thread busy until the event is set."""
    event, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        event.wait(10)

    queue.submit(wait, live=True)
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


def test_a_file_that_has_waited_long_gets_its_turn(queue, monkeypatch):
    monkeypatch.setattr("web.network_queue.PATIENCE", 0.05)
    order: list[str] = []
    event = blocked(queue)
    call = queue.submit(lambda: order.append("file"), live=False)
    lives = [queue.submit(lambda: order.append("live"), live=True) for _ in range(3)]
    time.sleep(0.1)
    event.set()
    for each in (call, *lives):
        each.result(10)
    assert order == ["file", "live", "live", "live"]


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
