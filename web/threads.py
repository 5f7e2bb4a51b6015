"""Run slow functions beside the server's loop, a bounded number at once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Threads:
    """Threads for one kind of work; work that nobody waits for any more keeps its thread."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count)

    async def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a function on a thread and wait for its result."""
        call = partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Begin no further work, and wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)
