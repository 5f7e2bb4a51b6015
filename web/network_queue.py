"""Let clients take turns on one network, which computes on one thread.

Calls of live clients go first, in the order in which they came: each client has one call at a time,
so that live clients alternate.  Animations of files compute in between, and are sure of a fifth of
the time, so that none waits for ever.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from animation.animator import Animator, PendingBatch
from inference.fused_network import FusedEncoded
from modules.geometry import Keypoints
from utils.device import flush_denormals

FILES_SHARE = 0.2  # of the time, while live clients want all of it
MOST_CREDIT = 1.0  # seconds

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Cancelled(Exception):
    """End of work whose result nobody wants any more."""


class Call(NamedTuple):
    """A call that waits for its turn."""

    function: Callable[[], Any]
    future: "Future[Any]"
    is_live: bool


class NetworkQueue:
    """Queue of calls for one thread."""

    def __init__(self) -> None:
        self._live: deque[Call] = deque()
        self._files: deque[Call] = deque()
        self._credit = 0.0  # seconds that files may compute although live clients wait
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="network", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], Result], *, live: bool) -> "Future[Result]":
        """Call a function in its turn.  Raises Cancelled after ``close``."""
        call = Call(function, Future(), live)
        with self._changed:
            if self._is_closed:
                raise Cancelled
            (self._live if live else self._files).append(call)
            self._changed.notify()
        return call.future

    def close(self) -> None:
        """End the thread after the current call; calls that wait raise Cancelled."""
        with self._changed:
            self._is_closed = True
            waiting = [*self._live, *self._files]
            self._live.clear()
            self._files.clear()
            self._changed.notify()
        for call in waiting:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(Cancelled())

    def _work(self) -> None:
        flush_denormals()
        while (call := self._next()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            began = time.monotonic()
            try:
                result = call.function()
            except BaseException as error:
                call.future.set_exception(error)
            else:
                call.future.set_result(result)
            self._account(time.monotonic() - began, is_live=call.is_live)
            del call

    def _next(self) -> Call | None:
        """Wait for the next call; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._live or self._files or self._is_closed)
            if self._is_closed:
                return None
            is_turn_of_files = self._files and (not self._live or self._credit > 0)
            return (self._files if is_turn_of_files else self._live).popleft()

    def _account(self, seconds: float, *, is_live: bool) -> None:
        """Give files credit for the time of live clients, of which they pay with their own."""
        change = seconds * FILES_SHARE / (1 - FILES_SHARE) if is_live else -seconds
        if is_live or self._live:  # files pay only while others wait
            self._credit = min(max(self._credit + change, -MOST_CREDIT), MOST_CREDIT)


class QueuedAnimator(Animator):
    """Animator for files, whose network computes in its turns and counts its frames."""

    def __init__(self, animator: Animator, queue: NetworkQueue) -> None:
        """Use the network of another animator."""
        self.__dict__.update(animator.__dict__)
        self._queue = queue
        self._cancelled = threading.Event()
        self.num_detected = self.num_rendered = 0  # frames

    def cancel(self) -> None:
        """Let the next step of the network raise Cancelled."""
        self._cancelled.set()

    def _in_turn(self, function: Callable[[], Result]) -> Result:
        def unless_cancelled() -> Result:
            if self._cancelled.is_set():
                raise Cancelled
            return function()

        return self._queue.submit(unless_cancelled, live=False).result()

    def encode(self, *sources: np.ndarray) -> FusedEncoded:
        return self._in_turn(partial(super().encode, *sources))

    def detect(self, frames: Sequence[np.ndarray]) -> Keypoints:
        found = self._in_turn(partial(super().detect, frames))
        self.num_detected += len(frames)
        return found

    def submit(self, encoded: FusedEncoded, driving: Keypoints) -> PendingBatch:
        return self._in_turn(partial(super().submit, encoded, driving))

    def result(self, pending: PendingBatch) -> np.ndarray:
        frames = self._in_turn(partial(super().result, pending))
        self.num_rendered += len(frames)
        return frames
