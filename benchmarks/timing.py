"""Times of calls that take turns, so that whatever slows the machine down slows all of them."""

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from pydantic import PositiveInt

from utils.section import Section

Call = Callable[[], object]

WARM_UPS = 2  # calls before the first that counts
SETTLED = 1.0  # seconds after which the first call is warm-up enough
SHORTEST = 0.05  # seconds of a measurement: shorter calls are repeated in it
TICK = 1e-6  # seconds that a clock may fail to see
FEWEST, MOST = 3, 100  # measurements of each call, however few or many the time allows

logger = logging.getLogger(__name__)


class Spread(Section):
    """A quantity that was measured several times."""

    median: float
    lowest: float
    quartiles: tuple[float, float]
    highest: float
    repeats: PositiveInt

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        lowest, lower, median, upper, highest = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        return cls(
            median=float(median),
            lowest=float(lowest),
            quartiles=(float(lower), float(upper)),
            highest=float(highest),
            repeats=len(values),
        )

    def times(self, factor: float) -> "Spread":
        """The same in another unit."""
        return Spread(
            median=factor * self.median,
            lowest=factor * self.lowest,
            quartiles=(factor * self.quartiles[0], factor * self.quartiles[1]),
            highest=factor * self.highest,
            repeats=self.repeats,
        )

    def rate(self, amount: float) -> "Spread":
        """What goes by in a unit of time, where ``amount`` went by in each of these times."""
        return Spread(
            median=amount / self.median,
            lowest=amount / self.highest,
            quartiles=(amount / self.quartiles[1], amount / self.quartiles[0]),
            highest=amount / self.lowest,
            repeats=self.repeats,
        )


def take_turns(
    calls: Mapping[str, Call], seconds: float, device: torch.device
) -> dict[str, Spread]:
    """Seconds of each call: all are made once, then all once more, until ``seconds`` are over."""
    count = {}
    for name, call in calls.items():
        for _ in range(WARM_UPS):
            took = seconds_of(call, 1, device)
            if took > SETTLED:
                break
        count[name] = max(1, round(SHORTEST / max(took, TICK)))
    measured: dict[str, list[float]] = {name: [] for name in calls}
    began, rounds = time.perf_counter(), 0
    while rounds < FEWEST or (rounds < MOST and time.perf_counter() - began < seconds):
        for name, call in calls.items():
            measured[name].append(seconds_of(call, count[name], device))
        rounds += 1
    spreads = {name: Spread.of(values) for name, values in measured.items()}
    medians = [f"{name} {1e3 * spread.median:.4g} ms" for name, spread in spreads.items()]
    logger.info("Timed: %s.", ", ".join(medians))
    return spreads


def seconds_of(call: Call, count: int, device: torch.device) -> float:
    """Mean seconds of ``count`` calls in a row, the last of which has left the device."""
    wait_for(device)
    began = time.perf_counter()
    for _ in range(count):
        call()
    wait_for(device)
    return (time.perf_counter() - began) / count


def wait_for(device: torch.device) -> None:
    """Until the device has done all it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
