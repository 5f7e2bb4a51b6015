"""Lists of pairs of files: CSV with the columns ``source,driving[,best_frame]``."""

import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from modules.errors import InputError


class PairPaths(NamedTuple):
    """A row of the list."""

    source: Path
    driving: Path
    best_frame: str  # "" where the row has none


def read_pair_list(path: Path) -> dict[str, PairPaths]:
    """The different pairs of a CSV file, each under a name of its own, made from its files'.

    Paths are those seen from the CSV file's folder, or else from the working directory.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            header, cells = rows.fieldnames or [], list(rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV file of pairs: {error}.") from error
    if not {"source", "driving"} <= set(header):
        raise InputError(
            f"{path} must start with the line source,driving or source,driving,best_frame: "
            f"found {','.join(header)!r}."
        )
    if not cells:
        raise InputError(f"{path} lists no pairs.")

    named: dict[str, PairPaths] = {}
    uses: Counter[str] = Counter()
    for pair in dict.fromkeys(read_row(row, path.parent) for row in cells):
        name = f"{pair.source.stem}--{pair.driving.stem}"
        uses[name] += 1
        named[name if uses[name] == 1 else f"{name}-{uses[name]}"] = pair
    return named


def read_row(row: dict[str, str | None], folder: Path) -> PairPaths:
    """A row, which has None where it is shorter than the header."""
    source, driving, best_frame = (
        (row.get(name) or "").strip() for name in ("source", "driving", "best_frame")
    )
    return PairPaths(find(source, folder), find(driving, folder), best_frame)


def find(name: str, folder: Path) -> Path:
    beside = folder / name
    return beside if beside.exists() else Path(name)
