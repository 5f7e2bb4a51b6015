"""The result of a benchmark: JSON with every spread, and Markdown tables made from it.

A row is keyed by the headings of its columns, which name their units.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from benchmarks.timing import Spread
from utils.errors import InputError
from utils.files import write_atomically
from utils.section import Section

Value = str | bool | int | float | Spread | None
Row = dict[str, Value]

NO_VALUE = "-"


class Table(Section):
    """Rows with much the same columns."""

    title: str
    rows: list[Row]
    note: str = ""  # what the headings do not say


class Result(Section):
    """A run of one benchmark."""

    benchmark: str
    settings: dict[str, Value]
    hardware: dict[str, Value]
    tables: list[Table]


def save(result: Result, path: Path) -> None:
    """Write a result as JSON, completely or not at all."""
    write_atomically(path, result.model_dump_json(indent=1) + "\n")


def read(path: Path) -> Result:
    """Read a saved result.  Raises InputError for a file that holds none."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path} is not a result of python -m benchmarks ({where}: {first['msg']}): give a "
            "file that --output has written."
        ) from error


def markdown(result: Result) -> str:
    """Format a result for reading."""
    parts = [
        f"## {result.benchmark.capitalize()}",
        f"Hardware: {listed(result.hardware)}.",
        f"Settings: {listed(result.settings)}.",
    ]
    for table in result.tables:
        parts += [f"### {table.title}", rows_as_markdown(table.rows)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts)


def rows_as_markdown(rows: Iterable[Row]) -> str:
    """Format a table with the columns of all rows, in the order in which they first appear."""
    rows = list(rows)
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    lines = [headings, ["---"] * len(headings)]
    lines += [[text(row.get(heading)) for heading in headings] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listed(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def text(value: Value) -> str:
    """Format a value with three digits; several measurements as their median and quartiles."""
    if isinstance(value, Spread):
        lower, upper = value.quartiles
        return f"{text(value.median)} ({text(lower)} to {text(upper)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value or NO_VALUE
