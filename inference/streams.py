"""Compute the items of a stream side by side, each on a CPU thread of its own.

If all threads share every operation, each operation waits for the slowest of them, which beside
other programs often does not run.  Threads with an item each wait for nobody.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from threading import Barrier
from typing import Any, TypeVar

import torch

from utils.device import flush_denormals

MOST_THREADS = 8  # that compute at once, since each needs memory for the feature maps of its item

Item = TypeVar("Item")
Output = TypeVar("Output")


class Streams:
    """Threads of a CPU that compute one item each, or the queue of a GPU."""

    def __init__(self, device: torch.device) -> None:
        """Take as many threads as PyTorch has now, 8 at most, which then share them."""
        self.threads = torch.get_num_threads() if device.type == "cpu" else 1
        self.count = min(self.threads, MOST_THREADS)  # items that are computed at once

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        """Threads on which PyTorch does not start others; the calling thread keeps its own."""
        all_started, share = Barrier(self.count), self.threads // self.count

        def start() -> None:  # without ``self``, which the threads would keep, and so themselves
            torch.set_num_threads(share)
            torch.get_num_threads()  # the first use in a thread decides, not what is set before
            flush_denormals()
            all_started.wait()

        pool = ThreadPoolExecutor(self.count, "compute", initializer=start)
        for started in [pool.submit(all_started.wait) for _ in range(self.count)]:
            started.result()
        torch.set_num_threads(self.threads)  # new threads of the process would start with fewer
        return pool

    def map(self, function: Callable[[Item], Output], items: Iterable[Item]) -> Iterator[Output]:
        """Yield ``function(item)`` for each item, in order.

        As many following items as can be computed at once are taken before an output is yielded.
        On a GPU, whose work is queued, ``function`` is called by this thread.  An error, of
        ``items`` too, is raised where its output would have come.
        """
        pending: deque[Future[Output]] = deque()
        try:
            submitted = self._submit_all(function, items)
            pending.extend(islice(submitted, self.count))
            while pending:
                pending.extend(islice(submitted, 1))
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def _submit_all(
        self, function: Callable[[Item], Output], items: Iterable[Item]
    ) -> "Iterator[Future[Output]]":
        """Submit each item as it is asked for; an error of ``items`` is that of one more."""
        try:
            for item in items:
                if self.count > 1:
                    yield self.pool.submit(function, item)
                else:
                    done: Future[Output] = Future()
                    done.set_result(function(item))
                    yield done
        except Exception as error:
            yield failed(error)


def failed(error: Exception) -> "Future[Any]":
    """Make a future that raises an error."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future
