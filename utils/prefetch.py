"""Reading ahead and writing behind: threads beside a loop that need not wait for files.

    with prefetch(read_frames(video)) as frames, write_async(writer.write) as write:
        for frame in frames:
            write(network(frame.image))

Each has one thread, which keeps the order and at most ``count`` items waiting.  What fails on the
thread fails in the loop, and the thread ends with the loop, whatever ends it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, ParamSpec, TypeVar

Item = TypeVar("Item")
Arguments = ParamSpec("Arguments")

END: Final = object()


@contextmanager
def prefetch(items: Iterable[Item], count: int = 3) -> Iterator[Iterator[Item]]:
    """``items``, of which the thread prepares the next ``count`` while one is in use.

    What they raise comes in its place.  Items that are a generator are closed at the end.
    """
    source = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = deque(thread.submit(next, source, END) for _ in range(count))

        def prepared() -> Iterator[Any]:
            while (item := coming.popleft().result()) is not END:
                coming.append(thread.submit(next, source, END))
                yield item

        try:
            yield prepared()
        finally:
            cancel(coming)
            thread.submit(getattr(source, "close", bool)).result()


@contextmanager
def write_async(
    call: Callable[Arguments, object], count: int = 3
) -> Iterator[Callable[Arguments, None]]:
    """What hands calls of ``call`` to the thread; it waits while ``count`` are not yet made.

    What a call raises is raised by one of the next, or at the end.  A loop that fails drops the
    calls not yet made.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        pending: deque[Future[object]] = deque()

        def submit(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            while pending and (len(pending) == count or pending[0].done()):
                pending.popleft().result()
            pending.append(thread.submit(call, *args, **kwargs))

        try:
            yield submit
            while pending:
                pending.popleft().result()
        finally:
            cancel(pending)


def cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()
