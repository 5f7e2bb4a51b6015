"""Peak memory of a call, measured in a process of its own, which no earlier call affects."""

import logging
import multiprocessing
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import torch

from utils.errors import InputError
from utils.malloc import keep_freed_memory
from utils.signals import end_with_parent

MIB = 2**20
RESIDENT, ON_GPU = "peak resident, MiB", "peak on the GPU, MiB"  # headings

logger = logging.getLogger(__name__)


def peaks_of(function: Callable[..., object], *arguments: Any) -> dict[str, float]:
    """Measure peaks of ``function(*arguments)`` in MiB, which a new process must unpickle.

    Raises InputError where the system ends the process.
    """
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, spawn, initializer=end_with_parent) as pool:
            peaks = pool.submit(measured, torch.get_num_threads(), function, arguments).result()
    except BrokenProcessPool as error:
        raise InputError(
            f"The process that measured {function.__name__} died, perhaps for lack of memory."
        ) from error
    logger.info("Peak of %s: %.0f MiB.", function.__name__, peaks[RESIDENT])
    return peaks


def measured(
    num_threads: int, function: Callable[..., object], arguments: tuple[Any, ...]
) -> dict[str, float]:
    """Make a call in this process; return its peaks by the headings of their columns."""
    keep_freed_memory()  # as every script does
    torch.set_num_threads(num_threads)
    function(*arguments)
    peaks = {RESIDENT: resident_peak() / MIB}
    if torch.cuda.is_available():
        peaks[ON_GPU] = torch.cuda.max_memory_allocated() / MIB
    return peaks


def resident_peak() -> float:
    """Peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage, whose figure begins with that of the parent
        lines = status.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("VmHWM:"))
        return 1024 * float(line.split()[1])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
