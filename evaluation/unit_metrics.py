"""Metrics of one unit of work, measured batch by batch."""

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from evaluation.metrics.available import AvailableMetrics
from evaluation.metrics.interface import ClipMetric, FrameMetric, Frames
from evaluation.partial_results import Features, UnitResult
from evaluation.results.frame_table import MISSING, frame_table
from evaluation.work_units import Dropped, FrameBatch

NOT_FINITE = "the generated frame is not finite"


class UnitMetrics:
    """Accumulate the metrics of one work unit."""

    def __init__(self, metrics: AvailableMetrics) -> None:
        self.metrics = metrics
        self.start = time.monotonic()
        self.dropped: dict[str, str] = {}
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self.tables: list[pd.DataFrame] = []  # of each batch, like the lists below
        self.finite: list[np.ndarray] = []  # (B,) bool
        self.observations: list[list[np.ndarray]] = []  # of each clip metric, (B, ...)
        self.features: list[Features] = []

    def add(self, batch: FrameBatch, generated: np.ndarray, finite: np.ndarray) -> None:
        """Measure B generated frames; those that are not ``finite`` (B,) get no value."""
        metrics, count = self.metrics, len(finite)
        frames = Frames(batch.source, batch.real, generated, batch.landmarks)
        values = {column: np.full(count, np.nan) for column in metrics.columns}
        copied = {column: np.full(count, np.nan) for column in metrics.copied_columns}
        missing = [{} if ok else dict.fromkeys(metrics.columns, NOT_FINITE) for ok in finite]
        for metric in metrics.frame_metrics:
            measured = metric(frames)
            for column in measured.values.keys() & values.keys():
                values[column][finite] = measured.values[column][finite]
                for i in np.flatnonzero(finite & np.isnan(values[column])):
                    if reason := measured.missing[i]:
                        missing[i][column] = reason
        found = of_copied_source(metrics.copied, frames)
        for column in found.keys() & copied.keys():
            copied[column][finite] = found[column][finite]
        keys = {
            "clip": [row.clip for row in batch.rows],
            "identity": [row.identity for row in batch.rows],
            "frame": [row.frame for row in batch.rows],
            "is_source": is_source(batch),
        }
        self.tables.append(frame_table(keys, values, copied, missing))
        self.finite.append(finite)
        self.observations.append([metric.observe(frames) for metric in metrics.clip_metrics])
        if metrics.features is not None:
            sides = (frames.real[finite], frames.generated[finite])
            if finite.any():
                self.features.append((metrics.features(sides[0]), metrics.features(sides[1])))

    def drop(self, dropped: Dropped) -> None:
        """Note a frame that is dropped, or the unit with all that came before."""
        if dropped.whole:
            self.clear()
        self.dropped[dropped.name] = dropped.reason

    def result(self) -> UnitResult:
        """Compute the metrics of clips and return all results of the unit."""
        columns, copied = self.metrics.columns, self.metrics.copied_columns
        empty = frame_table({}, dict.fromkeys(columns, ()), dict.fromkeys(copied, ()), ())
        table = pd.concat([empty, *self.tables], ignore_index=True)
        if self.tables:
            finite = np.concatenate(self.finite)
            by_metric = zip(*self.observations, strict=True)
            for metric, observations in zip(self.metrics.clip_metrics, by_metric, strict=True):
                measure_clips(table, metric, finite, np.concatenate(observations))
        features = None
        if self.features:
            real, generated = map(np.concatenate, zip(*self.features, strict=True))
            features = real, generated
        return UnitResult(table, features, self.dropped, time.monotonic() - self.start)


def measure_clips(
    table: pd.DataFrame, metric: ClipMetric, finite: np.ndarray, observations: np.ndarray
) -> None:
    """Fill the columns of a metric with its values of each clip, over its ``finite`` (N,) frames.

    ``observations`` (N, ...) are of the N rows of the table.
    """
    for rows in table[finite].groupby("clip", sort=False).groups.values():
        measured = metric.measure(observations[rows])
        for column in measured.keys() & set(table.columns):
            value, reason = measured[column]
            table.loc[rows, column] = value
            for reasons in table.loc[rows, MISSING] if reason else ():
                reasons[column] = reason


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
