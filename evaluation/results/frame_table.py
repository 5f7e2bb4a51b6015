"""Every number of every frame: what means are taken of, and ``frames.csv`` holds."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evaluation.metrics.registry import COLUMNS
from utils.errors import InputError
from utils.files import write_atomically

KEYS = ["clip", "identity", "frame", "is_source"]  # before the columns of values
COPIED = "copy_source_"  # before the name of a column: what copying the source would give
MISSING = "missing"  # after them: {column: reason} as JSON, empty where no value is missing


class FrameTable(NamedTuple):
    """One row a frame, those of a clip together and in order."""

    clips: np.ndarray  # (N,) str
    identities: np.ndarray  # (N,) str
    frames: np.ndarray  # (N,) str: a name within the clip
    is_source: np.ndarray  # (N,) bool: the driving frame is the source itself
    values: dict[str, np.ndarray]  # column -> (N,) float64, NaN where there is no value
    missing: dict[str, np.ndarray]  # column -> (N,) str: why there is none, "" where there is
    copied: dict[str, np.ndarray]  # column -> (N,) float64: what copying the source would give


class Row(NamedTuple):
    """One frame of the table."""

    clip: str
    identity: str
    frame: str
    is_source: bool
    values: list[float]  # in the order of the columns, those of the copied source last
    missing: dict[str, str]  # column -> reason


def write_frames(path: Path, table: FrameTable) -> None:
    """Writes a table as CSV in UTF-8, all of it or nothing; no digit is lost.

    Frames must have names that differ within their clip.
    """
    columns = [column for column in COLUMNS if column in table.values]
    copied = [column for column in COLUMNS if column in table.copied]
    values = [table.values[column].tolist() for column in columns]
    values += [table.copied[column].tolist() for column in copied]
    reasons = [table.missing[column].tolist() for column in columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*KEYS, *columns, *(COPIED + column for column in copied), MISSING])
    for i, is_source in enumerate(table.is_source.tolist()):
        keys = [table.clips[i], table.identities[i], table.frames[i], int(is_source)]
        cells = ["" if math.isnan(numbers[i]) else repr(numbers[i]) for numbers in values]
        missing = {column: why[i] for column, why in zip(columns, reasons, strict=True) if why[i]}
        details = json.dumps(missing, ensure_ascii=False) if missing else ""
        writer.writerow([*keys, *cells, details])
    write_atomically(path, text.getvalue())


def read_frames(path: Path) -> FrameTable:
    """The table in a ``frames.csv``, equal to the one written.

    Raises InputError, with the number of the line, where the file is damaged or another's.
    """
    rows: list[Row] = []
    line = 1
    try:
        with path.open("rb") as file:
            reader = csv.reader((text.decode("utf-8") for text in file), strict=True)
            columns, copied = read_header(next(reader, []))
            line = 2
            for cells in reader:
                rows.append(read_row(cells, columns, copied))
                line = reader.line_num + 1
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path} is not a frames.csv of this evaluation, or is damaged: line {line}: {error}."
        ) from error
    uses = Counter((row.clip, row.frame) for row in rows)
    if (twice := uses.most_common(1)) and twice[0][1] > 1:
        clip, frame = twice[0][0]
        raise InputError(f"{path} has frame {frame!r} of clip {clip!r} twice: names must differ.")
    return to_table(rows, columns, copied)


def read_header(cells: list[str]) -> tuple[list[str], list[str]]:
    """The columns of values and of the copied source; ValueError where the header is another."""
    names = cells[len(KEYS) : -1]
    columns = [name for name in names if not name.startswith(COPIED)]
    copied = [name.removeprefix(COPIED) for name in names[len(columns) :]]
    if cells != [*KEYS, *columns, *(COPIED + column for column in copied), MISSING]:
        expected = ",".join([*KEYS, "...", MISSING])
        raise ValueError(f"the header must be {expected}, found {','.join(cells)[:200]!r}")
    if unknown := [column for column in columns + copied if column not in COLUMNS]:
        raise ValueError(f"unknown column {unknown[0]!r}")
    if len(set(names)) < len(names):
        raise ValueError("a column is there twice")
    return columns, copied


def read_row(cells: list[str], columns: list[str], copied: list[str]) -> Row:
    """One line; ValueError where it does not fit the columns."""
    expected = len(KEYS) + len(columns) + len(copied) + 1
    if len(cells) != expected:
        raise ValueError(f"{expected} cells expected, found {len(cells)}")
    clip, identity, frame, is_source, *numbers, details = cells
    if is_source not in {"0", "1"}:
        raise ValueError(f"is_source must be 0 or 1, found {is_source!r}")
    missing = json.loads(details or "{}")
    if not isinstance(missing, dict) or not missing.keys() <= set(columns):
        raise ValueError(f"{MISSING} must name columns of this file, found {details!r}")
    if not all(isinstance(reason, str) for reason in missing.values()):
        raise ValueError(f"{MISSING} must give reasons as text, found {details!r}")
    values = [float(number) if number else float("nan") for number in numbers]
    return Row(clip, identity, frame, is_source == "1", values, missing)


def to_table(rows: Sequence[Row], columns: list[str], copied: list[str]) -> FrameTable:
    size = (len(rows), len(columns) + len(copied))
    values = np.array([row.values for row in rows], np.float64).reshape(size).T.copy()
    missing = {
        column: np.array([row.missing.get(column, "") for row in rows], np.str_)
        for column in columns
    }
    return FrameTable(
        clips=np.array([row.clip for row in rows], np.str_),
        identities=np.array([row.identity for row in rows], np.str_),
        frames=np.array([row.frame for row in rows], np.str_),
        is_source=np.array([row.is_source for row in rows], np.bool_),
        values=dict(zip(columns, values[: len(columns)], strict=True)),
        missing=missing,
        copied=dict(zip(copied, values[len(columns) :], strict=True)),
    )


def empty_table(columns: Iterable[str], copied: Iterable[str]) -> FrameTable:
    """A table without rows."""
    return to_table([], list(columns), list(copied))


def joined(tables: Sequence[FrameTable]) -> FrameTable:
    """The rows of tables with the same columns, one table below the other; at least one."""
    columns, copied = tables[0].values, tables[0].copied
    return FrameTable(
        clips=np.concatenate([table.clips for table in tables]),
        identities=np.concatenate([table.identities for table in tables]),
        frames=np.concatenate([table.frames for table in tables]),
        is_source=np.concatenate([table.is_source for table in tables]),
        values={c: np.concatenate([table.values[c] for table in tables]) for c in columns},
        missing={c: np.concatenate([table.missing[c] for table in tables]) for c in columns},
        copied={c: np.concatenate([table.copied[c] for table in tables]) for c in copied},
    )
