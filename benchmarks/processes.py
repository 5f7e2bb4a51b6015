"""The peak memory of a call, measured in a process of its own, which no earlier call affects."""

import logging
import multiprocessing
import resource
import sys
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
    """The peak memory of a call, and the value that it returned."""

    peak: float  # resident memory of the process, in MiB
    gpu_peak: float | None  # memory allocated on the GPU, in MiB
    result: Any


def usage_of(function: Callable[..., Any], *arguments: Any) -> Usage:
    """Measure ``function(*arguments)``, which a new process must be able to unpickle."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        usage = pool.submit(measured, torch.get_num_threads(), function, arguments).result()
    logger.info("Peak of %s: %.0f MiB.", function.__name__, usage.peak)
    return usage


def memory_columns(usage: Usage) -> Row:
    """The columns that hold the peaks of a call."""
    row: Row = {"peak resident, MiB": usage.peak}
    if usage.gpu_peak is not None:
        row["peak on the GPU, MiB"] = usage.gpu_peak
    return row


def measured(num_threads: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Usage:
    """Make a call in this process, and measure it."""
    keep_freed_memory()  # as every script does
    torch.set_num_threads(num_threads)
    result = function(*arguments)
    gpu_peak = torch.cuda.max_memory_allocated() / MIB if torch.cuda.is_available() else None
    return Usage(resident_peak() / MIB, gpu_peak, result)


def resident_peak() -> float:
    """Peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage, whose figure begins with that of the parent
        lines = status.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM:"))
        return 1024 * float(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
