"""What the batches of a unit come to."""

import numpy as np

from evaluation.metrics.metric import Frames
from evaluation.metrics.suite import Suite
from evaluation.recorder import ClipObservations, UnitMetrics
from evaluation.results.frame_table import FrameTable
from evaluation.work_units import Dropped
from tests.evaluation.tables import NAN, frame_table

FRAMES = Frames(*np.zeros((3, 2, 4, 4, 3), np.uint8))


class Growth:
    """A metric of clips: what was seen last, less what was seen first, and how many were seen."""

    columns = ("motion", "mouth_gain")

    def look(self, frames: Frames) -> np.ndarray:
        raise AssertionError("what it saw is given")

    def measure(self, seen: np.ndarray) -> dict[str, tuple[float, str]]:
        grown = (float(seen[-1] - seen[0]), "") if len(seen) > 1 else (np.nan, "too short")
        return {"motion": grown, "mouth_gain": (float(len(seen)), "")}


class Twice(Growth):
    """Another metric, which sees something else."""

    columns = ("brows_corr",)

    def measure(self, seen: np.ndarray) -> dict[str, tuple[float, str]]:
        return {"brows_corr": (float(seen[0]), "")}


COLUMNS = [*Growth.columns, *Twice.columns]


def recorder() -> UnitMetrics:
    return UnitMetrics(Suite([], COLUMNS, None, {}, {}, clip_metrics=[Growth(), Twice()]), None)


def batch(
    clips: list[str], first: int, seen: list[float]
) -> tuple[FrameTable, ClipObservations, None, Frames]:
    """Frames of clips, numbered from ``first``; NaN for those that could not be looked at."""
    names = [f"{first + i:07d}" for i in range(len(clips))]
    table = frame_table({column: [NAN] * len(clips) for column in COLUMNS}, clips, frames=names)
    there = ~np.isnan(seen)
    for column in COLUMNS:
        table.missing[column] = np.where(there, "", "not finite").astype(np.str_)
    found = np.array(seen)[there]
    return table, ClipObservations(there, [found, 2 * found] if there.any() else []), None, FRAMES


def test_the_clips_of_a_unit_are_measured_apart():
    """Pictures come many in a unit; those of one clip need not follow each other."""
    record = recorder()
    record.add(*batch(["a", "b", "a"], 0, [1.0, 10.0, NAN]))
    record.add(*batch(["c"], 3, [NAN]))
    record.add(*batch(["b", "a", "d"], 4, [40.0, 3.0, 5.0]))
    table = record.part().table
    np.testing.assert_array_equal(table.values["motion"], [2.0, 30.0, NAN, NAN, 30.0, 2.0, NAN])
    assert table.missing["motion"].tolist() == [
        *("", "", "not finite", "not finite", "", "", "too short")
    ]
    np.testing.assert_array_equal(table.values["mouth_gain"], [2.0, 2, NAN, NAN, 2, 2, 1])
    np.testing.assert_array_equal(table.values["brows_corr"], [2.0, 20, NAN, NAN, 20, 2, 10])


def test_a_unit_that_is_dropped_leaves_nothing_of_what_was_seen():
    record = recorder()
    record.add(*batch(["a", "a"], 0, [1.0, 2.0]))
    record.drop(Dropped("a", "It is damaged.", whole=True))
    part = record.part()
    assert len(part.table.clips) == 0
    assert part.dropped == {"a": "It is damaged."}


def test_a_frame_that_is_dropped_leaves_the_others():
    record = recorder()
    record.add(*batch(["a", "a"], 0, [1.0, 2.0]))
    record.drop(Dropped("a/0000002", "It is damaged."))
    assert record.part().table.values["motion"].tolist() == [1.0, 1.0]
