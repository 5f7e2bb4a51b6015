"""Handlers of the signals that end a run: raise an exception, or note a request to stop."""

import ctypes
import logging
import platform
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGTERM from kill or a scheduler, SIGHUP when the terminal closes (not on Windows), Ctrl-C
REQUESTS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
]
PR_SET_PDEATHSIG = 1  # of Linux's prctl

logger = logging.getLogger(__name__)


class Terminated(BaseException):
    """SIGTERM or SIGHUP as an exception, so that open files are cleaned up as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raised_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``Terminated``; a second one ends the process at once.

    Signals that are already ignored (as under nohup) or handled stay so.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(number)

    taken = []
    if threading.current_thread() is threading.main_thread():  # the only one that can set handlers
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
    """Yield a list that collects the signals to stop; a second one of a kind has its usual effect.

    Signals that are already ignored stay so.
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
    """Ignore the signals in a process that loads data: it serves the last step of the training."""
    for number in REQUESTS:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Let Linux kill this process when its parent ends, for whatever reason.

    A forked process would keep its parent's locks.
    """
    if platform.system() == "Linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
