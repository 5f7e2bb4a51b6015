"""The peak memory of a call, in a process of its own: what ran before cannot weigh in."""

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.report import Row
from utils.malloc import keep_freed_memory

MIB = 2**20

logger = logging.getLogger(__name__)


class Usage(NamedTuple):
    """What a call took, and what it returned."""

    peak: float  # resident memory of the process, in MiB
    gpu_peak: float | None  # memory allocated on the GPU, in MiB
    result: Any


def usage_of(function: Callable[..., Any], *arguments: Any) -> Usage:
    """The usage of ``function(*arguments)``, which a new process can import and unpickle."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        usage = pool.submit(measured, torch.get_num_threads(), function, arguments).result()
    logger.info("Peak of %s: %.0f MiB.", function.__name__, usage.peak)
    return usage


def memory_columns(usage: Usage) -> Row:
    """The columns that say what a call held at most."""
    row: Row = {"peak resident, MiB": usage.peak}
    if usage.gpu_peak is not None:
        row["peak on the GPU, MiB"] = usage.gpu_peak
    return row


def measured(num_threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Usage:
    keep_freed_memory()  # as every script does
    torch.set_num_threads(num_threads)
    result = function(*arguments)
    gpu_peak = None
    if torch.cuda.is_available():
        gpu_peak = torch.cuda.max_memory_allocated() / MIB
    return Usage(resident_peak() / MIB, gpu_peak, result)


def resident_peak() -> float:
    """The most bytes of memory that this process has held at once."""
    status = Path("/proc/self/status")
    if status.is_file():  # not the figure of getrusage, which begins with the parent's
        lines = status.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM:"))
        return 1024 * float(line.split()[1])
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
