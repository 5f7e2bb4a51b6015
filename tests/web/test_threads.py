"""Threads beside the server's loop."""

import asyncio
import threading
import time

import pytest

from web.threads import Threads


def test_clients_that_leave_do_not_get_further_threads():
    threads, release = Threads(2), threading.Event()
    num_running = 0

    def work() -> None:
        nonlocal num_running
        num_running += 1
        release.wait(10)

    async def ask_and_leave() -> None:
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.gather(*(threads.run(work) for _ in range(4))), 0.1)

    asyncio.run(ask_and_leave())
    assert num_running == 2
    release.set()
    time.sleep(0.1)
    assert num_running == 2  # what waited is not begun: nobody wants it
    threads.close()


def test_results_and_errors_come_back():
    threads = Threads(1)
    assert asyncio.run(threads.run(int, "12", base=8)) == 10
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(threads.run(int, "x"))
    threads.close()
