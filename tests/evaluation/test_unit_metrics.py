import numpy as np
import pandas as pd

from evaluation.metrics.available import AvailableMetrics
from evaluation.metrics.interface import Frames
from evaluation.unit_metrics import ClipObservations, UnitMetrics
from evaluation.work_units import Dropped
from tests.evaluation.tables import NAN, frame_table

FRAMES = Frames(*np.zeros((3, 2, 4, 4, 3), np.uint8))


class Growth:
    """Metric of clips: last observation less the first, and the number of observations."""

    def observe(self, frames: Frames) -> np.ndarray:
        raise AssertionError("its observations are given")

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        grown = np.nan, "too short"
        if len(observations) > 1:
            grown = float(observations[-1] - observations[0]), ""
        return {"motion": grown, "mouth_gain": (float(len(observations)), "")}


class Twice(Growth):
    """Metric of clips with other observations: the first one."""

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        return {"brows_corr": (float(observations[0]), "")}


COLUMNS = ["motion", "mouth_gain", "brows_corr"]


def unit_metrics() -> UnitMetrics:
    metrics = AvailableMetrics(columns=COLUMNS, clip_metrics=[Growth(), Twice()])
    return UnitMetrics(metrics, ranked_by=None)


def batch(
    clips: list[str], first: int, observed: list[float]
) -> tuple[pd.DataFrame, ClipObservations, None, Frames]:
    """Frames of clips, numbered from ``first``; NaN for those that could not be observed."""
    names = [f"{first + i:07d}" for i in range(len(clips))]
    there = ~np.isnan(observed)
    missing = [{} if ok else dict.fromkeys(COLUMNS, "not finite") for ok in there]
    values = {column: [NAN] * len(clips) for column in COLUMNS}
    table = frame_table(values, clips, missing=missing, frames=names)
    found = np.array(observed)[there]
    return table, ClipObservations(there, [found, 2 * found] if there.any() else []), None, FRAMES


def test_the_clips_of_a_unit_are_measured_apart():
    """Frames of one clip need not follow each other in a unit."""
    unit = unit_metrics()
    unit.add(*batch(["a", "b", "a"], 0, [1.0, 10.0, NAN]))
    unit.add(*batch(["c"], 3, [NAN]))
    unit.add(*batch(["b", "a", "d"], 4, [40.0, 3.0, 5.0]))
    table = unit.part().table
    np.testing.assert_array_equal(table["motion"], [2.0, 30.0, NAN, NAN, 30.0, 2.0, NAN])
    reasons = [each.get("motion", "") for each in table["missing"]]
    assert reasons == ["", "", "not finite", "not finite", "", "", "too short"]
    np.testing.assert_array_equal(table["mouth_gain"], [2.0, 2, NAN, NAN, 2, 2, 1])
    np.testing.assert_array_equal(table["brows_corr"], [2.0, 20, NAN, NAN, 20, 2, 10])


def test_a_unit_that_is_dropped_leaves_nothing_of_what_was_observed():
    unit = unit_metrics()
    unit.add(*batch(["a", "a"], 0, [1.0, 2.0]))
    unit.drop(Dropped("a", "It is damaged.", whole=True))
    part = unit.part()
    assert part.table.empty
    assert part.dropped == {"a": "It is damaged."}


def test_a_frame_that_is_dropped_leaves_the_others():
    unit = unit_metrics()
    unit.add(*batch(["a", "a"], 0, [1.0, 2.0]))
    unit.drop(Dropped("a/0000002", "It is damaged."))
    assert unit.part().table["motion"].tolist() == [1.0, 1.0]
