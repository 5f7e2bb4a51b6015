"""Work that is spread over processes, one job at a time each.

A process that dies (killed for its memory, or crashed by a damaged file) costs the job that it had:
another takes its place.  Only as many jobs as there are processes are held at a time.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import NamedTuple, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerDied(NamedTuple):
    """What a job gave whose process died."""

    detail: str = "the process that worked on it died: run again, with fewer --workers perhaps"


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Each job with what ``work`` gave for it, as they are done.

    ``work`` is a function of a module, or a partial of one.  What it raises is raised here, after
    the jobs in progress have ended.
    """
    pending = iter(jobs)
    processes = [_Process() for _ in range(workers)]
    running: dict[Future[Result], tuple[_Process, Job]] = {}
    try:
        for process, job in zip(processes, islice(pending, workers), strict=False):
            running[process.submit(work, job)] = process, job
        while running:
            done, _ = wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                process, job = running.pop(future)
                result = process.result(future)
                for following in islice(pending, 1):
                    running[process.submit(work, following)] = process, following
                yield job, result
    finally:
        for process in processes:
            process.pool.shutdown(cancel_futures=True)


class _Process:
    """A process, and after its death another."""

    def __init__(self) -> None:
        self.pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # spawned, not forked: the threads of libraries do not survive a fork
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin)

    def submit(self, work: Callable[[Job], Result], job: Job) -> "Future[Result]":
        try:
            return self.pool.submit(work, job)
        except BrokenProcessPool:  # it died between two jobs
            self.pool = self._start()
            return self.pool.submit(work, job)

    def result(self, future: "Future[Result]") -> Result | WorkerDied:
        try:
            return future.result()
        except BrokenProcessPool:
            self.pool.shutdown()
            self.pool = self._start()
            return WorkerDied()


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
