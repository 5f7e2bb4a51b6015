"""The log of a training run: TensorBoard events, ``metrics.jsonl`` and picture grids."""

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
    """Write the log of a run into its folder; a resumed run continues it after ``step``."""

    def __init__(self, run: Path, step: int) -> None:
        self.metrics = run / "metrics.jsonl"
        self.grids = run / "grids"
        self.grids.mkdir(parents=True, exist_ok=True)
        self.forget_after(step)
        self.events = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def forget_after(self, step: int) -> None:
        """Drop the lines of steps that a killed run logged and that will now be repeated."""
        lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        write_atomically(self.metrics, "".join(line + "\n" for line in kept))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write a line of ``metrics.jsonl`` and a point of each TensorBoard curve.

        A value that is not finite is null in JSON, which has no word for it, and is no point.
        """
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        line = {"step": step, **dict.fromkeys(values), **finite}
        with self.metrics.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        for name, value in finite.items():
            self.events.add_scalar(name, value, step)

    def grid(self, step: int, picture: np.ndarray) -> None:
        """Write a picture (H, W, 3) uint8."""
        imageio.imwrite(self.grids / f"step-{step:08d}.png", picture)
        self.events.add_image("pairs", picture, step, dataformats="HWC")

    def close(self) -> None:
        self.events.close()


class ThroughputMeter:
    """Measure the speed of the steps since it was last read, and their waiting for data."""

    def __init__(self, samples_per_step: int) -> None:
        self.samples_per_step = samples_per_step
        self.clear()

    def clear(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.steps = 0

    @contextmanager
    def timed(self, what: Literal["data", "step"]) -> Iterator[None]:
        """Add the time of a block, which waits for the data of a step or takes it."""
        began = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - began

    def read(self) -> dict[str, float]:
        """Return the means since the last call, in seconds and samples per second, and clear."""
        total, waiting = sum(self.seconds.values()), self.seconds["data"]
        speed = {
            "seconds_per_step": total / self.steps,
            "seconds_waiting": waiting / self.steps,
            "samples_per_second": self.samples_per_step * self.steps / total,
            "data_wait": waiting / total,
        }
        self.clear()
        return speed
