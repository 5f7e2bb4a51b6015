"""SIGTERM and Ctrl-C as requests that the training grants when its state can be saved."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REQUESTS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """The requests to stop that have come in so far; a second one of a kind acts as ever."""
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, previous[signal.Signals(number)])

    previous = {number: signal.signal(number, remember) for number in REQUESTS}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_signals(worker: int) -> None:
    """For the processes that load data: they serve the last step, and end with the training."""
    for number in REQUESTS:
        signal.signal(number, signal.SIG_IGN)
