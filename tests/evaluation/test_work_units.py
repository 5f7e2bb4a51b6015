from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from evaluation.work_units import Dropped, FrameBatch, Item, UnitFrame, read_units
from utils.errors import InputError

PICTURE = np.zeros((4, 6, 3), np.uint8)


def row(frame: int, height: int = 4, source: np.ndarray | None = PICTURE) -> UnitFrame:
    real = np.full((height, 6, 3), frame, np.uint8)
    return UnitFrame("clip", "person", str(frame), source, real, None)


class Unit(NamedTuple):
    name: str
    items: list[UnitFrame | Dropped | InputError]
    num_frames: int = 0

    def read(self) -> Iterator[UnitFrame | Dropped]:
        for item in self.items:
            if isinstance(item, InputError):
                raise item
            yield item


def read(*units: Unit, batch_size: int = 2) -> list[tuple[Unit, Item]]:
    with read_units(units, batch_size) as found:
        return list(found)


def items(*units: Unit, batch_size: int = 2) -> list[tuple[str, object]]:
    found = []
    for unit, item in read(*units, batch_size=batch_size):
        shown = [int(row.frame) for row in item.rows] if isinstance(item, FrameBatch) else item
        found.append((unit.name, shown))
    return found


def test_every_unit_comes_in_batches_of_its_own_and_ends():
    units = Unit("a", [row(n) for n in range(3)]), Unit("b", []), Unit("c", [row(7)])
    assert items(*units) == [
        ("a", [0, 1]),
        ("a", [2]),
        ("a", "end"),
        ("b", "end"),
        ("c", [7]),
        ("c", "end"),
    ]


def test_frames_of_another_size_begin_a_batch():
    unit = Unit("a", [row(0), row(1, height=8), row(2, height=8), row(3)])
    assert [item for _, item in items(unit)] == [[0], [1, 2], [3], "end"]


def test_one_source_is_stacked_once_and_several_in_order():
    other = PICTURE + 1
    shared, own = Unit("a", [row(0), row(1)]), Unit("b", [row(0), row(1, source=other)])
    (_, first), _, (_, second), _ = read(shared, own)
    np.testing.assert_array_equal(first.source, PICTURE[None])
    np.testing.assert_array_equal(second.source, np.stack([PICTURE, other]))


def test_a_frame_that_is_dropped_leaves_the_others():
    unit = Unit("a", [row(0), Dropped("x", "damaged"), row(1)])
    assert [item for _, item in items(unit)] == [Dropped("x", "damaged"), [0, 1], "end"]


def test_an_error_drops_the_whole_unit_and_no_other():
    broken = Unit("a", [row(0), row(1), row(2), InputError("It is damaged.")])
    assert items(broken, Unit("b", [row(5)])) == [
        ("a", [0, 1]),
        ("a", Dropped("a", "It is damaged.", whole=True)),
        ("a", "end"),
        ("b", [5]),
        ("b", "end"),
    ]


def test_landmarks_are_stacked_where_they_are_given():
    given = [row(n)._replace(landmarks=np.full((68, 2), float(n))) for n in range(3)]
    batches = [item for _, item in read(Unit("a", given)) if isinstance(item, FrameBatch)]
    assert [batch.landmarks[:, 0, 0].tolist() for batch in batches] == [[0.0, 1.0], [2.0]]
    ((_, alone), _) = read(Unit("b", [row(0)]))
    assert alone.landmarks is None
