"""Table of all measured frames, a pandas DataFrame whose columns are those of ``frames.csv``.

    clip  identity  frame  is_source  l1 ... fid  copy_source_l1 ...  missing

``frame`` is a name within the clip, and ``is_source`` says that the driving frame is the source
itself.  Columns of the registry are float64, NaN where there is no value; ``copy_source_`` before
a name means the value of the copied source in the place of the result; ``missing`` holds a dict
{column: reason}.  Rows of a clip stand together and in order.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.metrics.registry import COLUMNS, current_name
from utils.errors import InputError
from utils.files import write_atomically

KEYS = ["clip", "identity", "frame", "is_source"]
COPIED = "copy_source_"
MISSING = "missing"


def frame_table(
    keys: Mapping[str, Any],
    values: Mapping[str, Sequence[float] | np.ndarray],
    copied: Mapping[str, Sequence[float] | np.ndarray],
    missing: Sequence[dict[str, str]],
) -> pd.DataFrame:
    """Make a table of N rows from ``KEYS``, values and values of the copied source, (N,) each.

    Without ``keys`` it is empty.
    """
    ordered = {column: values[column] for column in COLUMNS if column in values}
    ordered |= {COPIED + column: copied[column] for column in COLUMNS if column in copied}
    texts = {key: pd.Series(list(keys.get(key, ())), dtype=object) for key in KEYS[:3]}
    return pd.DataFrame(
        {
            **texts,
            "is_source": np.asarray(keys.get("is_source", ()), np.bool_),
            **{column: np.asarray(of, np.float64) for column, of in ordered.items()},
            MISSING: pd.Series(list(missing), dtype=object),
        }
    )


def value_columns(table: pd.DataFrame) -> list[str]:
    """List the columns of the registry that a table has."""
    return [column for column in table.columns if column in COLUMNS]


def write_frame_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV in UTF-8, all of it or nothing; no digit is lost.

    Frames must have names that differ within their clip.
    """
    columns = value_columns(table)
    missing = [{c: reasons[c] for c in columns if c in reasons} for reasons in table[MISSING]]
    written = table.assign(
        is_source=table["is_source"].astype(int),
        missing=[json.dumps(each, ensure_ascii=False) if each else "" for each in missing],
    )
    write_atomically(path, written.to_csv(index=False, lineterminator="\n"))


def read_frame_table(path: Path) -> pd.DataFrame:
    """Read the table in a ``frames.csv``, equal to the one written.

    Every cell is checked, where pandas' own reader would fill a line that ends early.  Names of
    columns of earlier versions are translated.  Raises InputError, with the number of the line,
    where the file is damaged or another's.
    """
    rows: list[list[Any]] = []
    line = 1
    try:
        with path.open("rb") as file:
            reader = csv.reader((text.decode("utf-8") for text in file), strict=True)
            header = read_header(next(reader, []))
            line = 2
            for cells in reader:
                rows.append(read_row(cells, header))
                line = reader.line_num + 1
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, csv.Error) as error:
        raise InputError(
            f"{path} is not a frames.csv of this evaluation, or is damaged: line {line}: {error}."
        ) from error
    kinds = dict.fromkeys(header[len(KEYS) : -1], np.float64) | {"is_source": np.bool_}
    table = pd.DataFrame(rows, columns=header, dtype=object).astype(kinds)
    repeated = table[table.duplicated(["clip", "frame"])]
    if len(repeated):
        clip, frame = repeated.iloc[0][["clip", "frame"]]
        raise InputError(f"{path} has frame {frame!r} of clip {clip!r} twice: names must differ.")
    return table


def read_header(cells: list[str]) -> list[str]:
    """Check and translate the names of the columns; ValueError where they are another file's."""
    names = cells[len(KEYS) : -1]
    first_copied = next((i for i, name in enumerate(names) if name.startswith(COPIED)), len(names))
    columns = [current_name(name) for name in names[:first_copied]]
    copied = [current_name(name.removeprefix(COPIED)) for name in names[first_copied:]]
    copies_last = all(name.startswith(COPIED) for name in names[first_copied:])
    if cells[: len(KEYS)] != KEYS or cells[-1:] != [MISSING] or not copies_last:
        expected = ",".join([*KEYS, "...", MISSING])
        raise ValueError(f"the header must be {expected}, found {','.join(cells)[:200]!r}")
    if unknown := [column for column in columns + copied if column not in COLUMNS]:
        raise ValueError(f"unknown column {unknown[0]!r}")
    header = [*KEYS, *columns, *(COPIED + column for column in copied), MISSING]
    if len(set(header)) < len(header):
        raise ValueError("a column is there twice")
    return header


def read_row(cells: list[str], header: list[str]) -> list[Any]:
    """Convert the cells of one line; ValueError where they do not fit the columns."""
    if len(cells) != len(header):
        raise ValueError(f"{len(header)} cells expected, found {len(cells)}")
    *texts, is_source = cells[: len(KEYS)]
    if is_source not in {"0", "1"}:
        raise ValueError(f"is_source must be 0 or 1, found {is_source!r}")
    missing = json.loads(cells[-1] or "{}")
    if not isinstance(missing, dict) or not all(isinstance(why, str) for why in missing.values()):
        raise ValueError(f"{MISSING} must give reasons as text, found {cells[-1]!r}")
    missing = {current_name(column): reason for column, reason in missing.items()}
    if not missing.keys() <= set(header) & set(COLUMNS):
        raise ValueError(f"{MISSING} must name columns of this file, found {cells[-1]!r}")
    values = [float(cell) if cell else np.nan for cell in cells[len(KEYS) : -1]]
    return [*texts, is_source == "1", *values, missing]
