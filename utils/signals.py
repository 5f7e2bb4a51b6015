"""Signals that end a run: as exceptions that clean up, or as requests that the training grants."""

import ctypes
import logging
import platform
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# To end (kill, a scheduler), the terminal is gone (which Windows does not say), Ctrl-C
REQUESTS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
]
PR_SET_PDEATHSIG = 1  # Linux's number

logger = logging.getLogger(__name__)


class Terminated(BaseException):
    """SIGTERM or SIGHUP, raised as Ctrl-C raises KeyboardInterrupt: whatever is open cleans up."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raised_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``Terminated``, once: a second one ends the process at once.

    Signals that are ignored already stay so, as under nohup, and so do those that have a handler.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(number)

    taken = []
    if threading.current_thread() is threading.main_thread():  # no other may take signals
        taken = [number for number in REQUESTS if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """The requests to stop that have come in so far; a second one of a kind has its usual effect.

    Signals that are ignored already stay so.
    """
    caught: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, previous[number])
        logger.info("Stopping and saving after this step; again to stop at once.")

    handlers = {number: signal.getsignal(number) for number in REQUESTS}
    previous = {
        number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN
    }
    for number in previous:
        signal.signal(number, remember)
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def ignore_signals(worker: int) -> None:
    """For the processes that load data: they serve the last step, and end with the training."""
    for number in REQUESTS:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Let Linux end this process with the one that started it, however that ends.

    A forked process holds its parent's locks until then.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
