"""Metrics of one unit of work, gathered batch by batch, and the frames of it to be shown."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from evaluation.metrics.available import AvailableMetrics
from evaluation.metrics.interface import ClipMetric, Frames
from evaluation.partial_results import Features, Part
from evaluation.results.frame_table import MISSING, empty_table
from evaluation.results.report import Example
from evaluation.work_units import Dropped

NUM_EXAMPLES = 10  # of the best frames, and of the worst


class ClipObservations(NamedTuple):
    """Observations of the clip metrics in a batch."""

    observed: np.ndarray  # (B,) bool: the frames that could be observed
    by_metric: list[np.ndarray]  # of each of these, (N, ...); empty if there are none


class UnitMetrics:
    """Accumulate the metrics of one work unit."""

    def __init__(self, metrics: AvailableMetrics, ranked_by: str | None) -> None:
        self.ranked_by = ranked_by
        self.start = time.monotonic()
        self.clip_metrics = metrics.clip_metrics
        self.tables = [empty_table(metrics.columns, metrics.copied_columns)]
        self.observations: list[ClipObservations] = []
        self.features: list[Features] = []
        self.examples: list[Example] = []
        self.dropped: dict[str, str] = {}

    def add(
        self,
        table: pd.DataFrame,
        observations: ClipObservations,
        features: Features | None,
        frames: Frames,
    ) -> None:
        """Add a measured batch of B frames, one row of the table each."""
        self.tables.append(table)
        self.observations.append(observations)
        if features is not None:
            self.features.append(features)
        if self.ranked_by is not None:
            self.examples += examples(table, self.ranked_by, frames)
            self.examples = TopExamples(NUM_EXAMPLES).select(self.examples)

    def drop(self, dropped: Dropped) -> None:
        """Note a frame that is dropped, or the unit with all that came before."""
        if dropped.whole:
            self.tables = self.tables[:1]
            self.observations, self.features, self.examples = [], [], []
        self.dropped[dropped.name] = dropped.reason

    def part(self) -> Part:
        """Compute the metrics of clips and return all results of the unit."""
        features = None
        if self.features:
            real, generated = zip(*self.features, strict=True)
            features = np.concatenate(real), np.concatenate(generated)
        table = pd.concat(self.tables, ignore_index=True)
        batches = self.observations
        observed = np.concatenate([batch.observed for batch in batches] or [np.zeros(0, bool)])
        if observed.any():
            by_metric = zip(*(batch.by_metric for batch in batches if batch.by_metric), strict=True)
            for metric, observations in zip(self.clip_metrics, by_metric, strict=True):
                measure_clips(table, metric, observed, np.concatenate(observations))
        return Part(
            table=table,
            features=features,
            dropped=self.dropped,
            examples=self.examples,
            seconds=time.monotonic() - self.start,
        )


def measure_clips(
    table: pd.DataFrame, metric: ClipMetric, observed: np.ndarray, observations: np.ndarray
) -> None:
    """Fill the columns of a metric with its values of each clip.

    ``observations`` (N, ...) are of the N rows of the table that were ``observed``.
    """
    positions = np.cumsum(observed) - 1  # (rows,): where the observations of a row stand
    for rows in table[observed].groupby("clip", sort=False).groups.values():
        measured = metric.measure(observations[positions[rows]])
        for column in measured.keys() & set(table.columns):
            value, reason = measured[column]
            table.loc[rows, column] = value
            for reasons in table.loc[rows, MISSING] if reason else ():
                reasons[column] = reason


class TopExamples:
    """Select examples that may be among the best or worst of all; of equal ones the first."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.values: list[float] = []  # of all examples that were given so far

    def select(self, examples: list[Example]) -> list[Example]:
        """Return those among the ``count`` lowest or highest of all that were given so far."""
        first_new = len(self.values)
        self.values += [example.value for example in examples]
        ascending, descending = (
            np.argsort(sign * np.array(self.values), kind="stable") for sign in (1, -1)
        )
        kept = {*ascending[: self.count].tolist(), *descending[: self.count].tolist()}
        return [example for i, example in enumerate(examples, first_new) if i in kept]


def examples(table: pd.DataFrame, ranked_by: str, frames: Frames) -> Iterator[Example]:
    """Copy the frames of a batch that have a value to be ranked by, so that the batch is freed."""
    for i, (clip, frame, value) in enumerate(
        zip(table["clip"], table["frame"], table[ranked_by].tolist(), strict=True)
    ):
        if not math.isnan(value):
            source = None
            if frames.source is not None:
                source = frames.source[i].copy() if len(frames.source) > 1 else frames.source[0]
            yield Example(
                clip=clip,
                frame=frame,
                value=value,
                source=source,
                real=frames.real[i].copy(),
                generated=frames.generated[i].copy(),
            )
