"""Units of work of an evaluation, read frame by frame and delivered in batches.

A unit is a clip, the pairs of one driving clip, or a handful of pictures.  One process measures it
by itself, and measures it again where it was interrupted.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from media.pictures import Picture
from utils.errors import InputError
from utils.prefetch import prefetch


class UnitFrame(NamedTuple):
    """Frame of a unit that is to be measured."""

    clip: str
    identity: str
    frame: str  # its name within the clip
    source: Picture | None
    real: Picture
    generated: Picture | None  # None: to be rendered from source and real
    landmarks: np.ndarray | None = None  # of real, (68, 2) pixels; None: not given with the frames


class Dropped(NamedTuple):
    """Part of a unit, or all of it, that cannot be measured."""

    name: str
    reason: str
    whole: bool = False  # the unit: its earlier rows are dropped too


Read = Callable[[], Iterator[UnitFrame | Dropped]]  # an InputError drops the whole unit


@dataclass(frozen=True)
class Unit:
    """Clip, pairs or pictures that one process measures."""

    name: str  # differs from those of other units
    num_frames: int  # for the progress bar; 0 where it is not known
    files: Sequence[Path]  # pictures, videos and folders of frames that it reads
    read: Read


class FrameBatch(NamedTuple):
    """Batch of frames with pictures of one size: RGB uint8, (B, H, W, 3)."""

    rows: list[UnitFrame]
    source: np.ndarray | None  # (1, H, W, 3) where all share it
    real: np.ndarray
    generated: np.ndarray | None
    landmarks: np.ndarray | None  # (B, 68, 2), of the real pictures


Item = FrameBatch | Dropped | Literal["end"]


def read_units(
    units: Sequence[Unit], batch_size: int
) -> AbstractContextManager[Iterator[tuple[Unit, Item]]]:
    """Iterate over the batches of each unit and then "end", while a thread reads the next."""
    return prefetch((unit, item) for unit in units for item in read_unit(unit, batch_size))


def read_unit(unit: Unit, batch_size: int) -> Iterator[Item]:
    """Yield the batches of a unit, what is dropped of it, and "end"."""
    pending: list[UnitFrame] = []
    try:
        for item in unit.read():
            if isinstance(item, Dropped):
                yield item
                continue
            if pending and (len(pending) == batch_size or shapes(item) != shapes(pending[0])):
                yield stack(pending)
                pending = []
            pending.append(item)
    except InputError as error:
        yield Dropped(unit.name, str(error), whole=True)
    else:
        if pending:
            yield stack(pending)
    yield "end"


def shapes(row: UnitFrame) -> list[tuple[int, ...] | None]:
    """List the shapes of the pictures of a frame."""
    pictures = (row.source, row.real, row.generated)
    return [None if picture is None else picture.shape for picture in pictures]


def stack(rows: list[UnitFrame]) -> FrameBatch:
    """Stack frames of equal shapes to one batch."""

    def stacked(name: str) -> np.ndarray | None:
        parts = [getattr(row, name) for row in rows]
        if name == "source" and all(part is parts[0] for part in parts):
            parts = parts[:1]
        return None if parts[0] is None else np.stack(parts)

    real = np.stack([row.real for row in rows])
    return FrameBatch(rows, stacked("source"), real, stacked("generated"), stacked("landmarks"))
