"""What a unit comes to, batch by batch, and which of its frames are worth looking at."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from evaluation.metrics.metric import ClipMetric, Frames
from evaluation.metrics.suite import Suite
from evaluation.partial_results import Features, Part
from evaluation.results.frame_table import FrameTable, empty_table, joined
from evaluation.results.report import Example
from evaluation.work_units import Dropped

NUM_EXAMPLES = 10  # of the best frames, and of the worst


class ClipObservations(NamedTuple):
    """What the metrics of clips saw in a batch."""

    there: np.ndarray  # (B,) bool: the frames that could be looked at
    of: list[np.ndarray]  # metric by metric, of each of these, (N, ...); empty if there are none


class UnitMetrics:
    """What a unit comes to, batch by batch."""

    def __init__(self, suite: Suite, ranked_by: str | None) -> None:
        self.ranked_by = ranked_by
        self.start = time.monotonic()
        self.clip_metrics = suite.clip_metrics
        self.tables = [empty_table(suite.columns, suite.copied_columns)]
        self.seen: list[ClipObservations] = []
        self.features: list[Features] = []
        self.examples: list[Example] = []
        self.dropped: dict[str, str] = {}

    def add(
        self, table: FrameTable, seen: ClipObservations, features: Features | None, frames: Frames
    ) -> None:
        """A measured batch."""
        self.tables.append(table)
        self.seen.append(seen)
        if features is not None:
            self.features.append(features)
        if self.ranked_by is not None:
            self.examples += examples(table, self.ranked_by, frames)
            self.examples = TopExamples(NUM_EXAMPLES).among(self.examples)

    def drop(self, dropped: Dropped) -> None:
        """A frame, or the unit with all that came before."""
        if dropped.whole:
            self.tables, self.seen, self.features, self.examples = self.tables[:1], [], [], []
        self.dropped[dropped.name] = dropped.reason

    def part(self) -> Part:
        features = None
        if self.features:
            real, generated = zip(*self.features, strict=True)
            features = np.concatenate(real), np.concatenate(generated)
        table = joined(self.tables)
        there = np.concatenate([batch.there for batch in self.seen] or [np.zeros(0, bool)])
        if there.any():
            by_metric = zip(*(batch.of for batch in self.seen if batch.of), strict=True)
            for metric, seen in zip(self.clip_metrics, by_metric, strict=True):
                measure_clips(table, metric, there, np.concatenate(seen))
        seconds = time.monotonic() - self.start
        return Part(table, features, self.dropped, self.examples, seconds)


def measure_clips(
    table: FrameTable, metric: ClipMetric, there: np.ndarray, seen: np.ndarray
) -> None:
    """Fill the columns of a metric with what it says of each clip.

    ``seen`` (N, ...) is of the N rows of the table that are ``there``.
    """
    reasons = {column: table.missing[column].astype(object) for column in metric.columns}
    for clip in dict.fromkeys(table.clips[there].tolist()):
        rows = there & (table.clips == clip)
        for column, (value, reason) in metric.measure(seen[rows[there]]).items():
            table.values[column][rows], reasons[column][rows] = value, reason
    for column, of in reasons.items():
        table.missing[column] = of.astype(np.str_)


class TopExamples:
    """Which examples may be among the best and the worst of all; of equal ones the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.lowest: list[float] = []  # so far, the lowest first
        self.highest: list[float] = []  # the same with minus signs

    def among(self, examples: list[Example]) -> list[Example]:
        """Those that belong to the ``count`` lowest or highest of all that were given so far."""
        values = [example.value for example in examples]
        self.lowest, low = smallest(self.lowest, values, self.count)
        self.highest, high = smallest(self.highest, [-value for value in values], self.count)
        return [example for i, example in enumerate(examples) if i in low | high]


def smallest(before: list[float], values: list[float], count: int) -> tuple[list[float], set[int]]:
    """The ``count`` smallest of all in order, and which of ``values`` are among them."""
    pool = before + values
    order = sorted(range(len(pool)), key=pool.__getitem__)[:count]
    return [pool[i] for i in order], {i - len(before) for i in order}


def examples(table: FrameTable, ranked_by: str, frames: Frames) -> Iterator[Example]:
    """The frames of a batch that have a value to be ranked by, which do not keep the batch."""
    for i, value in enumerate(table.values[ranked_by].tolist()):
        if not math.isnan(value):
            source = None
            if frames.source is not None:
                source = frames.source[i].copy() if len(frames.source) > 1 else frames.source[0]
            pictures = (source, frames.real[i].copy(), frames.generated[i].copy())
            yield Example(str(table.clips[i]), str(table.frames[i]), value, *pictures)
