"""An evaluation from its units to its report.

Every process renders and measures its share of the units, batch by batch, while a thread reads the
next; the first one then merges what all have left in ``parts/``.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from evaluation.metrics.fid import frechet_distance
from evaluation.metrics.metric import Frames, Metric, Unavailable
from evaluation.metrics.registry import COLUMNS
from evaluation.metrics.suite import Suite
from evaluation.partial_results import Features, PartialResults
from evaluation.processes import Processes
from evaluation.recorder import NUM_EXAMPLES, ClipObservations, TopExamples, UnitMetrics
from evaluation.results.frame_table import FrameTable, write_frames
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
from evaluation.work_units import Dropped, Rows, Unit, read_units
from utils.errors import InputError
from utils.files import fingerprint, write_atomically
from utils.progress import progress_bar

NOT_FINITE = "the generated frame is not finite"

Render = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Request(NamedTuple):
    """What is evaluated, in the words of result.json."""

    protocol: Literal["video", "pairs", "folders"]
    cross_identity: bool
    conditions: dict[str, Any]
    coverage: Coverage  # as far as it is known before anything is read
    seed: int  # of the bootstrap
    batch_size: int


class Evaluation:
    """Units, what renders them (None: they bring their generated frames), and the metrics."""

    def __init__(
        self,
        units: Sequence[Unit],
        render: Render | None,
        suite: Suite,
        request: Request,
        *,
        output: Path,
        processes: Processes,
    ) -> None:
        self.units, self.render, self.suite, self.request = units, render, suite, request
        self.output, self.processes = output, processes
        self.parts = PartialResults(output / "parts", len(units))
        of_clips = {column for metric in suite.clip_metrics for column in metric.columns}
        per_frame = [c for c in COLUMNS if c in suite.columns and c not in of_clips]
        self.ranked_by = per_frame[0] if per_frame else None

    def run(self) -> Result | None:
        """The result, which the first process also writes to the output folder; None elsewhere.

        Raises InputError where the folder holds another evaluation, or nothing can be measured.
        """
        with self.parts.begun(self.settings()) if self.processes.is_main else nullcontext():
            self.processes.wait_for_all()
            self.measure_units()
            self.processes.wait_for_all()
            return self.merge() if self.processes.is_main else None

    def settings(self) -> dict[str, Any]:
        """What must be the same where an interrupted evaluation is continued."""
        request = self.request
        return {
            "protocol": request.protocol,
            "cross_identity": request.cross_identity,
            **request.conditions,
            "batch_size": request.batch_size,
            "metrics": [*self.suite.columns, *(["fid"] if self.suite.features else [])],
            "list of metrics of the copied source": self.suite.copied_columns,
            "list of names": [unit.name for unit in self.units],
            "state of the files": fingerprint(file for unit in self.units for file in unit.files),
        }

    def measure_units(self) -> None:
        """Measures this process's units, but for those that were finished before."""
        numbers = [
            number
            for number in self.processes.share(range(len(self.units)))
            if not self.parts.has(number)
        ]
        units = [self.units[number] for number in numbers]
        recorder = UnitMetrics(self.suite, self.ranked_by)
        extremes = TopExamples(NUM_EXAMPLES)
        remaining = iter(numbers)
        total = sum(unit.num_frames for unit in units) or None
        with progress_bar(total=total, unit="frame", hidden=not self.processes.is_main) as progress:
            for unit, item in read_units(units, self.request.batch_size):
                progress.set_postfix_str(unit.name, refresh=False)
                if isinstance(item, Rows):
                    recorder.add(*self.measure(item))
                    progress.update(len(item.rows))
                elif isinstance(item, Dropped):
                    recorder.drop(item)
                else:
                    part = recorder.part()
                    shown = extremes.among(part.examples)
                    self.parts.write(next(remaining), part._replace(examples=shown))
                    recorder = UnitMetrics(self.suite, self.ranked_by)

    def measure(self, rows: Rows) -> tuple[FrameTable, ClipObservations, Features | None, Frames]:
        """All numbers of a batch, what those of its clips follow from, and its features."""
        count = len(rows.rows)
        generated, finite = rows.generated, np.ones(count, bool)
        if generated is None:
            assert self.render is not None
            assert rows.source is not None
            generated, finite = self.render(rows.source, rows.real)
        everything = Frames(rows.source, rows.real, generated, rows.landmarks)
        frames = everything if finite.all() else select(everything, finite)

        values = {column: np.full(count, np.nan) for column in self.suite.columns}
        missing = {
            column: np.where(finite, "", NOT_FINITE).astype(object) for column in self.suite.columns
        }
        copied = {column: np.full(count, np.nan) for column in self.suite.copied_columns}
        seen = ClipObservations(finite, [])
        features = None
        if finite.any():
            for metric in self.suite.metrics:
                measured = metric(frames)
                for column, found in measured.values.items():
                    values[column][finite] = found
                    missing[column][finite] = np.where(np.isnan(found), measured.missing, "")
            for column, found in of_copied_source(self.suite.copied, frames).items():
                if column in copied:
                    copied[column][finite] = found
            seen.of.extend(metric.look(frames) for metric in self.suite.clip_metrics)
            if self.suite.features is not None:
                features = self.suite.features(frames.real), self.suite.features(frames.generated)
        table = FrameTable(
            clips=np.array([row.clip for row in rows.rows]),
            identities=np.array([row.identity for row in rows.rows]),
            frames=np.array([row.frame for row in rows.rows]),
            is_source=is_source(rows),
            values=values,
            missing={column: reasons.astype(str) for column, reasons in missing.items()},
            copied=copied,
        )
        return table, seen, features, everything

    def merge(self) -> Result:
        """Everything measured, as the files of the output folder."""
        table, dropped = self.parts.table(), self.parts.dropped()
        if len(table.frames) == 0:
            first = next(iter(dropped.values()), "there is nothing to read")
            raise InputError(f"No frame could be measured; the first reason: {first}")
        request, unavailable = self.request, dict(self.suite.unavailable)
        distance = None
        num_features = sum(len(generated) for _, generated in self.parts.features())
        if self.suite.features is not None:
            try:
                distance = frechet_distance(self.parts.features())
            except Unavailable as error:
                unavailable["fid"] = str(error)
        result: Result = {
            "protocol": request.protocol,
            "cross_identity": request.cross_identity,
            "conditions": request.conditions,
            "coverage": with_dropped(request.coverage, dropped, table),
            "duration_seconds": self.parts.seconds(),
            **summarise(table, unavailable, distance, num_features, request.seed),
        }
        best: list[Example] = []
        worst: list[Example] = []
        if self.ranked_by is not None:
            higher = COLUMNS[self.ranked_by].better == "higher"
            best = self.parts.examples(NUM_EXAMPLES, largest=higher)
            worst = self.parts.examples(NUM_EXAMPLES, largest=not higher)
        write_frames(self.output / "frames.csv", table)
        write_atomically(self.output / "table.md", markdown(result))
        write_atomically(self.output / "table.tex", latex(result))
        write_atomically(
            self.output / "report.html", html(result, table, best, worst, self.ranked_by)
        )
        write_result(self.output, result)
        return result


def of_copied_source(metrics: Sequence[Metric], frames: Frames) -> dict[str, np.ndarray]:
    """What metrics say of the source in the place of the result; nothing if its size is another."""
    if frames.source is None or frames.source.shape[1:] != frames.real.shape[1:]:
        return {}
    sources = np.broadcast_to(frames.source, frames.real.shape).copy()
    copies = frames._replace(generated=sources)
    return {column: of for metric in metrics for column, of in metric(copies).values.items()}


def is_source(rows: Rows) -> np.ndarray:
    """Which driving frames (B,) show the source itself, as the first of a clip and its like do."""
    if rows.source is None or rows.source.shape[1:] != rows.real.shape[1:]:
        return np.zeros(len(rows.rows), bool)
    return (rows.source == rows.real).all(axis=(1, 2, 3))


def select(frames: Frames, chosen: np.ndarray) -> Frames:
    """The chosen (B,) frames of a batch."""
    source = frames.source
    if source is not None and len(source) > 1:
        source = source[chosen]
    landmarks = None if frames.landmarks is None else frames.landmarks[chosen]
    return Frames(source, frames.real[chosen], frames.generated[chosen], landmarks)


def with_dropped(coverage: Coverage, dropped: dict[str, str], table: FrameTable) -> Coverage:
    """The coverage, after what turned out to be unreadable."""
    clips, pairs = coverage["clips"], coverage["pairs"]
    clips = ClipCoverage(
        listed=clips["listed"], used=len(set(table.clips.tolist())), dropped=dict(clips["dropped"])
    )
    if pairs is None:
        clips["dropped"].update(dropped)
        return Coverage(clips=clips, pairs=None)
    return Coverage(
        clips=clips,
        pairs=PairCoverage(
            rows=pairs["rows"],
            duplicates=pairs["duplicates"],
            used=len(table.frames),
            missing={**pairs["missing"], **dropped},
        ),
    )
