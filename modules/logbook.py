"""What a run leaves to be looked at: TensorBoard events, ``metrics.jsonl``, picture grids."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from torch.utils.tensorboard import SummaryWriter

from modules.files import write_text_whole


class Logbook:
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
        write_text_whole(self.metrics, "".join(line + "\n" for line in kept))

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line of ``metrics.jsonl``, and one point of each TensorBoard curve."""
        with self.metrics.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.events.add_scalar(name, value, step)

    def grid(self, step: int, picture: np.ndarray) -> None:
        """A picture (H, W, 3) uint8."""
        imageio.imwrite(self.grids / f"step-{step:08d}.png", picture)
        self.events.add_image("pairs", picture, step, dataformats="HWC")

    def close(self) -> None:
        self.events.close()


class Meter:
    """Means over the steps since they were last read, and how fast those went."""

    def __init__(self, samples_per_step: int) -> None:
        self.samples_per_step = samples_per_step
        self.clear()

    def clear(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.values: dict[str, list[float]] = defaultdict(list)
        self.steps = 0

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the time of a block under a name."""
        began = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - began

    def add(self, values: dict[str, float]) -> None:
        """Count a step, and its values if it has any."""
        self.steps += 1
        for name, value in values.items():
            self.values[name].append(value)

    def read(self) -> dict[str, float]:
        """The means, the speed, and the share of time spent waiting for data; then clears."""
        total = sum(self.seconds.values())
        means = {name: sum(values) / len(values) for name, values in self.values.items()}
        means["seconds_per_step"] = total / self.steps
        means["samples_per_second"] = self.samples_per_step * self.steps / total
        means["data_wait"] = self.seconds["data"] / total
        self.clear()
        return means
