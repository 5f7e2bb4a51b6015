"""Read ahead and write behind a loop that need not wait for files, each on one thread.

    with prefetch(read_frames(video)) as frames, write_async(writer.write) as write:
        for frame in frames:
            write(network(frame.image))

Each thread keeps the order, and at most ``count`` items waiting.  An error on the thread is raised
in the loop, and the thread ends with the loop, whatever ends it.
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
    """Yield an iterator over ``items`` that prepares the next ``count`` on a thread.

    An error of ``items`` is raised where the item would have come.  A generator is closed at the
    end.
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
    """Yield a function that makes calls of ``call`` on a thread, with at most ``count`` waiting.

    An error of a call is raised by one of the next calls, or at the end.  A loop that fails drops
    the calls that have not begun.
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
    """Cancel the calls that have not begun."""
    for future in futures:
        future.cancel()
