"""Timing of calls that take turns, so that what slows the machine down slows all of them alike."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from pydantic import PositiveInt

from utils.section import Section

Call = Callable[[], object]

WARM_UPS = 2  # calls before the first that counts
LONG = 1.0  # seconds; a call that takes longer needs no second warm-up
SHORTEST = 0.05  # seconds of a measurement: shorter calls are repeated within it
CLOCK_TICK = 1e-6  # seconds that the clock may not resolve
FEWEST, MOST = 3, 100  # measurements of each call, whatever time there is

logger = logging.getLogger(__name__)


class Spread(Section):
    """Statistics of a quantity that was measured several times."""

    median: float
    lowest: float
    quartiles: tuple[float, float]
    highest: float
    repeats: PositiveInt

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> "Spread":
        """Summarise measurements, (repeats,) in any unit."""
        quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).tolist()
        lowest, lower, median, upper, highest = quantiles
        return cls(
            median=median,
            lowest=lowest,
            quartiles=(lower, upper),
            highest=highest,
            repeats=len(values),
        )


def time_interleaved(
    calls: Mapping[str, Call], seconds: float, device: torch.device
) -> dict[str, np.ndarray]:
    """Seconds of each call, (repeats,): all are made once, then once more, for ``seconds``."""
    count = {}
    for name, call in calls.items():
        for _ in range(WARM_UPS):
            took = seconds_per_call(call, 1, device)
            if took > LONG:
                break
        count[name] = max(1, round(SHORTEST / max(took, CLOCK_TICK)))
    measured: dict[str, list[float]] = {name: [] for name in calls}
    began, rounds = time.perf_counter(), 0
    while rounds < FEWEST or (rounds < MOST and time.perf_counter() - began < seconds):
        for name, call in calls.items():
            measured[name].append(seconds_per_call(call, count[name], device))
        rounds += 1
    medians = [f"{name} {1e3 * np.median(times):.4g} ms" for name, times in measured.items()]
    logger.info("Timed: %s.", ", ".join(medians))
    return {name: np.array(times) for name, times in measured.items()}


def seconds_per_call(call: Call, count: int, device: torch.device) -> float:
    """Mean seconds of ``count`` calls in a row, until the device has finished the last of them."""
    synchronize(device)
    began = time.perf_counter()
    for _ in range(count):
        call()
    synchronize(device)
    return (time.perf_counter() - began) / count


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all that it was asked to compute."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
