"""Tables of a result as Markdown and LaTeX: beside published numbers, and all metrics."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

import pandas as pd

from evaluation.metrics.registry import COLUMNS
from evaluation.results.published import CONDITIONS, NUM_PAIRS, PUBLISHED_COLUMNS, PUBLISHED_ROWS
from evaluation.results.result import (
    MeanResult,
    RelativeToCopy,
    Result,
    computed_metrics,
    unavailable_metrics,
)
from utils.wording import counted

K = TypeVar("K")
V = TypeVar("V")

NOTHING = "\N{EN DASH}"  # where there is no number
UNAVAILABLE = "unavailable"
ARROWS = {"lower": "↓", "higher": "↑"}
PROTOCOLS = {
    "video": "every frame of each clip, from the clip's first frame",
    "pairs": "a list of pairs of frames",
    "folders": "two folders of frames or videos, paired by name",
}
METRIC_HEADER = (
    "metric",
    "mean",
    "95 % interval",
    "without source frames",
    "frames",
    "clips",
    "dropped",
)
COPY_HEADER = ("metric", "result", "source copied", "difference", "95 % interval", "frames")
SHOWN = 10  # reasons, and names of each, where there may be thousands
INTERVAL_NOTE = (
    "Plain means over frames; intervals by bootstrap over clips. Arrows point to the better side. "
    "Beside frames stand the clips that they are of: an expression counts in those whose driving "
    "face makes it. "
    "Frames that are identical to the true ones, whose PSNR is infinite, are not in its means."
)


class Table(NamedTuple):
    """Table of texts; the first cell of a row is its title."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    last_is_own: bool = False  # the last row is this result's, between others


def metrics_table(result: Result) -> Table:
    """Make the table of every metric, with the frames, clips and pairs that were dropped."""
    rows = []
    whole = "".join(
        f" + {counted(len(names), noun)}" for noun, (names, _) in left_out(result).items() if names
    )
    for name, metric in result["metrics"].items():
        if "unavailable" in metric:
            rows.append([arrowed(name), UNAVAILABLE, *[""] * (len(METRIC_HEADER) - 2)])
            continue
        digits, moved = COLUMNS[name].digits, metric["without_source_frames"]
        rows.append(
            [
                arrowed(name),
                number(metric["mean"], digits),
                interval(metric, digits),
                number(None if moved is None else moved["mean"], digits),
                frames(metric),
                f"{metric['clips']:,}" if "clips" in metric else NOTHING,
                f"{sum(map(len, metric['dropped'].values())):,}{whole}",
            ]
        )
    return Table(METRIC_HEADER, rows)


def arrowed(column: str) -> str:
    """Write the title of a column with an arrow to the better side."""
    return f"{COLUMNS[column].title} {ARROWS[COLUMNS[column].better]}"


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Collect the values of each key, in order."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def without_value(result: Result) -> dict[tuple[str, tuple[str, ...]], list[str]]:
    """Collect the titles of metrics by the reason and the frames for which they have no value."""
    return grouped(
        ((reason, tuple(names)), COLUMNS[name].title)
        for name, metric in computed_metrics(result).items()
        for reason, names in metric["dropped"].items()
    )


def left_out(result: Result) -> dict[str, tuple[dict[str, str], int]]:
    """Collect clips and pairs that are in no number, with reasons, and the number asked for."""
    clips, pairs = result["coverage"]["clips"], result["coverage"]["pairs"]
    found = {"clip": (clips["dropped"], clips["listed"])}
    if pairs is not None:
        found["pair"] = (pairs["missing"], pairs["rows"])
    return found


def dropped_sentences(result: Result) -> list[str]:
    """Say which clips, pairs and frames are in no number, or not in all of them, and why."""
    sentences = []
    for noun, (names, asked_for) in left_out(result).items():
        if names:
            sentences.append(
                f"Dropped, and in no number below: {len(names):,} of {counted(asked_for, noun)}."
            )
            sentences += lines_by_reason(names)
    titles: dict[tuple[str, int], list[str]] = {}
    for (reason, frames_without), own in without_value(result).items():
        titles.setdefault((reason, len(frames_without)), []).extend(own)
    return sentences + [
        f"Without a value of {', '.join(own)}: {counted(count, 'frame')} ({reason})."
        for (reason, count), own in titles.items()
    ]


def lines_by_reason(reasons: Mapping[str, str]) -> list[str]:
    """Write a line for each of the first reasons, with the first names of each."""
    names = grouped((reason, name) for name, reason in reasons.items())
    lines = []
    for reason, own in list(names.items())[:SHOWN]:
        more = f" and {len(own) - SHOWN:,} more" if len(own) > SHOWN else ""
        lines.append(f"{', '.join(own[:SHOWN])}{more}: {reason}")
    if len(names) > SHOWN:
        count = sum(len(own) for own in list(names.values())[SHOWN:])
        lines.append(f"And {count:,} more: result.json names them all.")
    return lines


def copy_tables(result: Result) -> list[Table]:
    """Make tables compared with a copy of the source, which moves nothing and is as sharp.

    One of all frames that the source does not drive itself, and one of those that moved.
    """
    captions: dict[Literal["without_source_frames", "moved"], str] = {
        "without_source_frames": "All frames but those that the source drives itself."
    }
    if "moved" in result:
        captions["moved"] = (
            "Frames that moved: those that differ from the source by more than the median, which "
            f"is an L1 of {number(result['moved']['l1'], COLUMNS['l1'].digits)}."
        )
    tables = []
    for frames_of, caption in captions.items():
        rows = [
            copy_row(name, relative)
            for name, metric in computed_metrics(result).items()
            if "copy_source" in metric and (relative := metric["copy_source"][frames_of])
        ]
        if rows:
            tables.append(Table(COPY_HEADER, rows, caption))
    return tables


def copy_row(name: str, relative: RelativeToCopy) -> list[str]:
    """Write the cells of a column compared with a copy of the source."""
    digits, difference = COLUMNS[name].digits, relative["difference"]
    means = (relative["result"], relative["copy_source"], difference)
    return [
        arrowed(name),
        *(number(each["mean"], digits) for each in means),
        interval(difference, digits),
        frames(difference),
    ]


def published_table(result: Result) -> Table:
    """Make the published table with this result in the same columns as last row."""
    digits = [column.digits for column in PUBLISHED_COLUMNS]
    rows = [[title, *map(number, of, digits)] for title, of in PUBLISHED_ROWS.items()]
    own, metrics = ["this result"], computed_metrics(result)
    for column in PUBLISHED_COLUMNS:
        metric, mean = metrics.get(column.column), None
        if metric is not None:
            mean = (metric["without_source_frames"] or metric)["mean"]
        own.append(number(None if mean is None else mean * column.scale, column.digits))
    header = ["", *(column.title for column in PUBLISHED_COLUMNS)]
    return Table(header, [*rows, own], last_is_own=True)


def comparability(result: Result) -> str:
    """Say what was measured, and whether the published numbers can be compared with it."""
    counts, pairs = result["counts"], result["coverage"]["pairs"]
    persons = "cross identity" if result["cross_identity"] else "same identity"
    text = (
        f"The published numbers are of {CONDITIONS}. This result is of "
        f"{PROTOCOLS[result['protocol']]}, {persons}: "
        f"{counted(counts['frames'], 'frame')} of {counted(counts['clips'], 'clip')}. "
    )
    if any(metric.get("without_source_frames") for metric in result["metrics"].values()):
        text += "Frames that the source drives itself are left out of its row. "
    if result["cross_identity"]:
        return text + "Without a true frame to compare with, the two cannot be compared."
    if result["protocol"] != "pairs" or pairs is None:
        return text + "These are other frames, so only orders of magnitude can be compared."
    if pairs["used"] != NUM_PAIRS:
        return text + (
            f"It uses {counted(pairs['used'], 'pair')}, not the published {NUM_PAIRS:,}, so only "
            "orders of magnitude can be compared."
        )
    return text + "The comparison is fair if this is the published list, on VoxCeleb1."


def conventions() -> str:
    """Say which of our columns stand in the published table, and why."""
    columns = [
        f"{column.title} is {', '.join(filter(None, [COLUMNS[column.column].title, column.note]))}"
        for column in PUBLISHED_COLUMNS
        if column.title != COLUMNS[column.column].title
    ]
    return f"In the row of this result {'; '.join(columns)}."


def sections(result: Result) -> dict[str, list[str | Table]]:
    """Arrange all sentences and tables of a result below their titles; the first have none."""
    titles = grouped((why, COLUMNS[c].title) for c, why in unavailable_metrics(result).items())
    reasons = [f"Unavailable: {'; '.join(own)}: {reason}" for reason, own in titles.items()]
    return {
        "": [*dropped_sentences(result)],
        "Beside the published numbers": [
            comparability(result),
            published_table(result),
            conventions(),
        ],
        "All metrics": [metrics_table(result), INTERVAL_NOTE, *reasons],
        "Compared with a copy of the source": [*copy_tables(result)],
    }


def markdown(result: Result) -> str:
    """Write ``table.md``: a document of all tables."""
    parts = ["# Evaluation"]
    for title, blocks in sections(result).items():
        if title and blocks:
            parts.append(f"## {title}")
        parts += rendered(blocks, escape_markdown, markdown_table)
    return "\n\n".join(parts) + "\n"


def latex(result: Result) -> str:
    r"""Write ``table.tex``: all tables with their sentences, to ``\input`` in a document."""
    parts: list[str] = []
    for title, blocks in sections(result).items():
        parts += rendered(blocks, escape_latex, latex_table, before_caption=f"{title}: ")
    return "\n\n".join(parts) + "\n"


def rendered(
    blocks: Iterable[str | Table],
    escape: Callable[[str], str],
    write: Callable[[Table], str],
    before_caption: str = "",
) -> Iterator[str]:
    """Escape the sentences and write the tables of a section."""
    for block in blocks:
        if isinstance(block, Table):
            if block.caption:
                yield escape(before_caption + block.caption)
            yield write(block)
        else:
            yield escape(block)


def markdown_table(table: Table) -> str:
    """Write a table with numbers to the right and the row of this result in bold."""
    rows = [[escape_markdown(cell) for cell in row] for row in [table.header, *table.rows]]
    if table.last_is_own:
        rows[-1] = [f"**{cell}**" for cell in rows[-1]]
    rows.insert(1, ["---", *["---:"] * (len(table.header) - 1)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def latex_table(table: Table) -> str:
    """Write a table with numbers to the right and the row of this result in bold."""
    cells = pd.DataFrame(table.rows, columns=list(table.header)).map(escape_latex)
    cells.columns = cells.columns.map(escape_latex)
    if table.last_is_own:
        cells.iloc[-1] = [rf"\textbf{{{cell}}}" for cell in cells.iloc[-1]]
    rules = [
        {"selector": rule, "props": ":hline;"} for rule in ("toprule", "midrule", "bottomrule")
    ]
    style = cells.style.hide(axis="index").set_table_styles(rules)
    return str(style.to_latex(column_format="l" + "r" * (len(table.header) - 1))).rstrip()


def number(value: float | None, digits: int) -> str:
    """Format a number, or a dash where there is none."""
    return NOTHING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    """Format a difference with its sign."""
    return NOTHING if value is None else f"{value:+.{digits}f}"


def signed_interval(interval: tuple[float, float] | None, digits: int) -> str:
    """Format the interval of a difference."""
    return NOTHING if interval is None else " to ".join(signed(end, digits) for end in interval)


def frames(metric: MeanResult) -> str:
    """Count the frames of a mean, and those that are not in it as they are without an error."""
    identical = metric.get("identical", 0)
    return f"{metric['frames']:,}" + (f" + {identical:,} identical" if identical else "")


def interval(metric: MeanResult, digits: int) -> str:
    """Format the interval of a mean."""
    if metric["interval"] is None:
        return NOTHING
    low, high = metric["interval"]
    return f"{number(low, digits)} to {number(high, digits)}"


def one_line(text: str) -> str:
    """Replace line ends by spaces."""
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    """Escape text so that it stands for itself in a cell or a paragraph of Markdown."""
    return re.sub(r"([\\`*_\[\]<>|&~$])", r"\\\1", one_line(text))


LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    NOTHING: "--",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Escape text so that it stands for itself in LaTeX."""
    return "".join(LATEX.get(character, character) for character in one_line(text))
