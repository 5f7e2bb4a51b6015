"""Run slow functions beside the server's loop, a bounded number at once."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")


class Threads:
    """Threads for one kind of work; they do not keep the process from ending."""

    def __init__(self, count: int) -> None:
        self._limiter = CapacityLimiter(count)

    async def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a function on a thread and wait for its result."""
        return await to_thread.run_sync(
            lambda: function(*args, **kwargs), abandon_on_cancel=True, limiter=self._limiter
        )
