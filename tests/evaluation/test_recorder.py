"""What the batches of a unit come to."""

import numpy as np

from evaluation.frame_table import FrameTable
from evaluation.metric import Frames
from evaluation.recorder import Recorder, Seen
from evaluation.suite import Suite
from evaluation.units import Dropped
from tests.evaluation.tables import NAN, frame_table

FRAMES = Frames(*np.zeros((3, 2, 4, 4, 3), np.uint8))


class Growth:
    """A metric of clips: what was seen last, less what was seen first."""

    column = "motion"

    def look(self, frames: Frames) -> np.ndarray:
        raise AssertionError("what it saw is given")

    def measure(self, seen: np.ndarray) -> tuple[float, str]:
        return (float(seen[-1] - seen[0]), "") if len(seen) > 1 else (np.nan, "too short")


def recorder() -> Recorder:
    return Recorder(Suite([], ["motion"], None, {}, {}, clip_metrics=[Growth()]), None)


def batch(clips: list[str], first: int, seen: list[float]) -> tuple[FrameTable, Seen, None, Frames]:
    """Frames of clips, numbered from ``first``; NaN for those that could not be looked at."""
    names = [f"{first + i:07d}" for i in range(len(clips))]
    table = frame_table({"motion": [NAN] * len(clips)}, clips, frames=names)
    there = ~np.isnan(seen)
    table.missing["motion"] = np.where(there, "", "not finite").astype(np.str_)
    of = {"motion": np.array(seen)[there]} if there.any() else {}
    return table, Seen(there, of), None, FRAMES


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
