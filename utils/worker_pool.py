"""Spread jobs over worker processes that may die.

A process that dies (killed for its memory, or crashed by a damaged file) costs the one job that it
had, and another process takes its place.  Ctrl-C, an error and the end of the parent end all
workers.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any, Generic, TypeVar

WORKER_DIED = "worker died"  # the reason in reports, and its detail
DIED = "the process that worked on it died: run again, with fewer --workers perhaps"

Job = TypeVar("Job")
Result = TypeVar("Result")


class _Died(Exception):
    """End of a process in the middle of its job."""


class WorkerTraceback(Exception):
    """Traceback of an error in a worker, as the cause of the error that is raised here."""


def usable_cores() -> int:
    """Count the CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    work: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    died: Callable[[Job], Result],
) -> Iterator[tuple[Job, Result]]:
    """Yield each job with the result of ``work``, in the order of completion.

    ``work`` is a function of a module, or a partial of one; its errors are raised here.  ``died``
    gives the result of a job whose process died.  No more jobs are taken from ``jobs`` than there
    are free processes.
    """
    pending = iter(jobs)
    working: dict[object, _Worker[Job, Result]] = {}
    with ExitStack() as at_the_end:

        def begin(worker: _Worker[Job, Result] | None, job: Job) -> None:
            if worker is None:
                worker = _Worker(work)
                at_the_end.callback(worker.end)
            worker.begin(job)
            working[worker.connection] = worker

        for job in islice(pending, workers):
            begin(None, job)
        while working:
            for connection in wait([worker.connection for worker in working.values()]):
                worker = working.pop(connection)
                job, alive = worker.job, True
                try:
                    result = worker.result()
                except _Died:
                    result, alive = died(job), False
                for following in islice(pending, 1):
                    begin(worker if alive else None, following)
                yield job, result


class _Worker(Generic[Job, Result]):
    """Process that does one job after the other."""

    job: Job  # the current one

    def __init__(self, work: Callable[[Job], Result]) -> None:
        context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
        self.connection, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(other_end, work), daemon=True)
        with _environment(OMP_NUM_THREADS="1"):  # a process has one core to itself
            self.process.start()
        other_end.close()

    def begin(self, job: Job) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # it died meanwhile, which ``result`` finds
            self.connection.send(job)

    def result(self) -> Result:
        try:
            result, error, text = self.connection.recv()
        except (EOFError, OSError):  # OSError in the middle of a result
            raise _Died from None
        if error is not None:
            raise error from WorkerTraceback(text)
        return result

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set environment variables for the processes that are started within the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(connection: Connection, work: Callable[[Any], object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    Thread(target=_end_with_parent, daemon=True).start()
    while True:
        job = connection.recv()
        try:
            result = work(job)
        except Exception as error:
            connection.send((None, error, traceback.format_exc()))
        else:
            connection.send((result, None, ""))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
