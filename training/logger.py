"""What a run leaves to be looked at: TensorBoard events, ``metrics.jsonl``, picture grids."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import imageio.v3 as imageio
import numpy as np
from torch.utils.tensorboard import SummaryWriter

from utils.files import write_atomically


class RunLogger:
    """The log of a run in its folder; a resumed run goes on with it after ``step``."""

    def __init__(self, run: Path, step: int) -> None:
        self.metrics = run / "metrics.jsonl"
        self.grids = run / "grids"
        self.grids.mkdir(parents=True, exist_ok=True)
        self.forget_after(step)
        self.events = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def forget_after(self, step: int) -> None:
        """Drop what a killed run logged of steps that will now be repeated."""
        lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_atomically(self.metrics, "".join(line + "\n" for line in kept))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line of ``metrics.jsonl``, and one point of each TensorBoard curve.

        A value that is not finite is null there, as JSON has no word for it, and no point here.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        line = {"step": step, **dict.fromkeys(values), **finite}
        with self.metrics.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for name, value in finite.items():
            self.events.add_scalar(name, value, step)

    def grid(self, step: int, picture: np.ndarray) -> None:
        """A picture (H, W, 3) uint8."""
        imageio.imwrite(self.grids / f"step-{step:08d}.png", picture)
        self.events.add_image("pairs", picture, step, dataformats="HWC")

    def close(self) -> None:
        self.events.close()


class ThroughputMeter:
    """How fast the steps since it was last read went, and how long they waited for data."""

    def __init__(self, samples_per_step: int) -> None:
        self.samples_per_step = samples_per_step
        self.clear()

    def clear(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.steps = 0

    @contextmanager
    def timed(self, what: Literal["data", "step"]) -> Iterator[None]:
        """Count the time of a block: waiting for the data of a step, or taking it."""
        began = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """Seconds a step, of them seconds (and their share) waiting for data; then clears."""
        total, waiting = sum(self.seconds.values()), self.seconds["data"]
        speed = {
            "seconds_per_step": total / self.steps,
            "seconds_waiting": waiting / self.steps,
            "samples_per_second": self.samples_per_step * self.steps / total,
            "data_wait": waiting / total,
        }
        self.clear()
        return speed
