"""Evaluation from its units to its report.

Every process renders and measures its share of the units, batch by batch, while a thread reads the
next; the first one then merges the partial results that all have left in ``parts/``.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from evaluation.metrics.available import AvailableMetrics
from evaluation.metrics.fid import frechet_distance
from evaluation.metrics.interface import FrameMetric, Frames, Unavailable
from evaluation.metrics.registry import CLIP_COLUMNS, COLUMNS
from evaluation.partial_results import Features, PartialResults
from evaluation.processes import Processes
from evaluation.results.frame_table import frame_table, write_frame_table
from evaluation.results.report import Example, html
from evaluation.results.result import (
    ClipCoverage,
    Coverage,
    PairCoverage,
    Result,
    summarise,
    write_result,
)
from evaluation.results.tables import latex, markdown
from evaluation.unit_metrics import NUM_EXAMPLES, ClipObservations, TopExamples, UnitMetrics
from evaluation.work_units import Dropped, FrameBatch, Unit, read_units
from utils.errors import InputError
from utils.files import fingerprint, write_atomically
from utils.progress import progress_bar

NOT_FINITE = "the generated frame is not finite"

Render = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(kw_only=True)
class Evaluation:
    """Measurement of units by metrics, in the words of ``result.json``."""

    units: Sequence[Unit]
    render: Render | None  # makes the frames; None where the units bring them
    metrics: AvailableMetrics
    output: Path
    processes: Processes
    protocol: Literal["video", "pairs", "folders"]
    cross_identity: bool
    conditions: dict[str, Any]
    coverage: Coverage  # as far as it is known before anything is read
    seed: int  # of the bootstrap
    batch_size: int

    def __post_init__(self) -> None:
        self.partial_results = PartialResults(self.output / "parts", len(self.units))
        measured = set(self.metrics.columns) - CLIP_COLUMNS
        self.ranked_by = next((column for column in COLUMNS if column in measured), None)

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
            "cross_identity": self.cross_identity,
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
        unit_metrics = UnitMetrics(self.metrics, self.ranked_by)
        top_examples = TopExamples(NUM_EXAMPLES)
        remaining = iter(numbers)
        total = sum(unit.num_frames for unit in units) or None
        with progress_bar(total=total, unit="frame", hidden=not self.processes.is_main) as progress:
            for unit, item in read_units(units, self.batch_size):
                progress.set_postfix_str(unit.name, refresh=False)
                if isinstance(item, FrameBatch):
                    self.measure(item, unit_metrics)
                    progress.update(len(item.rows))
                elif isinstance(item, Dropped):
                    unit_metrics.drop(item)
                else:
                    part = unit_metrics.part()
                    shown = top_examples.select(part.examples)
                    self.partial_results.write(next(remaining), part._replace(examples=shown))
                    unit_metrics = UnitMetrics(self.metrics, self.ranked_by)

    def measure(self, batch: FrameBatch, unit_metrics: UnitMetrics) -> None:
        """Render and measure a batch of B frames, and add the numbers to those of its unit."""
        count = len(batch.rows)
        generated, finite = batch.generated, np.ones(count, bool)
        if generated is None:
            assert self.render is not None
            assert batch.source is not None
            generated, finite = self.render(batch.source, batch.real)
        everything = Frames(batch.source, batch.real, generated, batch.landmarks)
        frames = everything if finite.all() else select(everything, finite)

        metrics = self.metrics
        values = {column: np.full(count, np.nan) for column in metrics.columns}
        copied = {column: np.full(count, np.nan) for column in metrics.copied_columns}
        missing = [{} if ok else dict.fromkeys(metrics.columns, NOT_FINITE) for ok in finite]
        observations = ClipObservations(finite, [])
        features: Features | None = None
        if finite.any():
            for metric in metrics.frame_metrics:
                measured = metric(frames)
                for column in measured.values.keys() & values.keys():
                    found = values[column][finite] = measured.values[column]
                    for i in np.flatnonzero(np.isnan(found) & (np.array(measured.missing) != "")):
                        missing[np.flatnonzero(finite)[i]][column] = measured.missing[i]
            for column, found in of_copied_source(metrics.copied, frames).items():
                if column in copied:
                    copied[column][finite] = found
            observations.by_metric.extend(each.observe(frames) for each in metrics.clip_metrics)
            if metrics.features is not None:
                features = metrics.features(frames.real), metrics.features(frames.generated)
        keys = {
            "clip": [row.clip for row in batch.rows],
            "identity": [row.identity for row in batch.rows],
            "frame": [row.frame for row in batch.rows],
            "is_source": is_source(batch),
        }
        table = frame_table(keys, values, copied, missing)
        unit_metrics.add(table, observations, features, everything)

    def merge(self) -> Result:
        """Summarise all partial results in the files of the output folder."""
        table, dropped = self.partial_results.table(), self.partial_results.dropped()
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
            "cross_identity": self.cross_identity,
            "conditions": self.conditions,
            "coverage": with_dropped(self.coverage, dropped, table),
            "duration_seconds": self.partial_results.seconds(),
            **summarise(table, unavailable, distance, num_features, self.seed),
        }
        best: list[Example] = []
        worst: list[Example] = []
        if self.ranked_by is not None:
            higher = COLUMNS[self.ranked_by].better == "higher"
            best = self.partial_results.examples(NUM_EXAMPLES, largest=higher)
            worst = self.partial_results.examples(NUM_EXAMPLES, largest=not higher)
        write_frame_table(self.output / "frames.csv", table)
        write_atomically(self.output / "table.md", markdown(result))
        write_atomically(self.output / "table.tex", latex(result))
        write_atomically(
            self.output / "report.html", html(result, table, best, worst, self.ranked_by)
        )
        write_result(self.output, result)
        return result


def of_copied_source(metrics: Sequence[FrameMetric], frames: Frames) -> dict[str, np.ndarray]:
    """Measure the source in the place of the result; nothing if its size is another."""
    if frames.source is None or frames.source.shape[1:] != frames.real.shape[1:]:
        return {}
    sources = np.broadcast_to(frames.source, frames.real.shape).copy()
    copies = frames._replace(generated=sources)
    return {column: of for metric in metrics for column, of in metric(copies).values.items()}


def is_source(batch: FrameBatch) -> np.ndarray:
    """Mark the driving frames (B,) that show the source itself, as the first of a clip does."""
    if batch.source is None or batch.source.shape[1:] != batch.real.shape[1:]:
        return np.zeros(len(batch.rows), bool)
    return (batch.source == batch.real).all(axis=(1, 2, 3))


def select(frames: Frames, chosen: np.ndarray) -> Frames:
    """Return the chosen (B,) frames of a batch."""
    source = frames.source
    if source is not None and len(source) > 1:
        source = source[chosen]
    landmarks = None if frames.landmarks is None else frames.landmarks[chosen]
    return Frames(source, frames.real[chosen], frames.generated[chosen], landmarks)


def with_dropped(coverage: Coverage, dropped: dict[str, str], table: pd.DataFrame) -> Coverage:
    """Add to the coverage the clips or pairs that turned out to be unreadable."""
    clips, pairs = coverage["clips"], coverage["pairs"]
    unreadable_clips = dropped if pairs is None else {}
    if pairs is not None:
        pairs = PairCoverage(
            rows=pairs["rows"],
            duplicates=pairs["duplicates"],
            used=len(table),
            missing={**pairs["missing"], **dropped},
        )
    clips = ClipCoverage(
        listed=clips["listed"],
        used=table["clip"].nunique(),
        dropped={**clips["dropped"], **unreadable_clips},
    )
    return Coverage(clips=clips, pairs=pairs)
