import numpy as np
import pytest

from evaluation.metrics.available import AvailableMetrics
from evaluation.metrics.interface import Frames
from evaluation.unit_metrics import NOT_FINITE, UnitMetrics
from evaluation.work_units import Dropped, FrameBatch, UnitFrame, stack

NAN = float("nan")


class Growth:
    """Metric of clips: last observation less the first, and the number of observations."""

    def observe(self, frames: Frames) -> np.ndarray:
        return frames.real[:, 0, 0, 0].astype(float)

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        grown = np.nan, "too short"
        if len(observations) > 1:
            grown = float(observations[-1] - observations[0]), ""
        return {"motion": grown, "mouth_gain": (float(len(observations)), "")}


class First:
    """Metric of clips with other observations: the first one."""

    def observe(self, frames: Frames) -> np.ndarray:
        return 2.0 * frames.real[:, 0, 0, :1]

    def measure(self, observations: np.ndarray) -> dict[str, tuple[float, str]]:
        return {"brows_corr": (float(observations[0, 0]), "")}


@pytest.fixture
def unit() -> UnitMetrics:
    columns = ["motion", "mouth_gain", "brows_corr"]
    return UnitMetrics(AvailableMetrics(columns=columns, clip_metrics=[Growth(), First()]))


def batch(clips: str, values: list[float]) -> tuple[FrameBatch, np.ndarray, np.ndarray]:
    """Frames of clips, one letter each; NaN for those that are not finite."""
    pictures = np.nan_to_num(np.array(values)).astype(np.uint8)[:, None, None, None]
    pictures = pictures.repeat(3, axis=3)
    rows = [
        UnitFrame(clip, clip, str(i), None, picture, picture)
        for i, (clip, picture) in enumerate(zip(clips, pictures, strict=True))
    ]
    return stack(rows), pictures, np.isfinite(values)


def test_the_clips_of_a_unit_are_measured_apart(unit):
    """Frames of one clip need not follow each other in a unit."""
    unit.add(*batch("aba", [1.0, 10.0, NAN]))
    unit.add(*batch("c", [NAN]))
    unit.add(*batch("bad", [40.0, 3.0, 5.0]))
    table = unit.result().table
    np.testing.assert_array_equal(table["motion"], [2.0, 30.0, NAN, NAN, 30.0, 2.0, NAN])
    reasons = [each.get("motion", "") for each in table["missing"]]
    assert reasons == ["", "", NOT_FINITE, NOT_FINITE, "", "", "too short"]
    np.testing.assert_array_equal(table["mouth_gain"], [2.0, 2, NAN, NAN, 2, 2, 1])
    np.testing.assert_array_equal(table["brows_corr"], [2.0, 20, NAN, NAN, 20, 2, 10])


def test_a_unit_that_is_dropped_leaves_nothing_of_what_was_observed(unit):
    unit.add(*batch("aa", [1.0, 2.0]))
    unit.drop(Dropped("a", "It is damaged.", whole=True))
    part = unit.result()
    assert part.table.empty
    assert part.dropped == {"a": "It is damaged."}


def test_a_frame_that_is_dropped_leaves_the_others(unit):
    unit.add(*batch("aa", [1.0, 2.0]))
    unit.drop(Dropped("a/0000002", "It is damaged."))
    assert unit.result().table["motion"].tolist() == [1.0, 1.0]
