"""A result as tables: beside the published numbers, and every metric with its interval."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from evaluation.metrics.registry import COLUMNS
from evaluation.results.published import CONDITIONS, NUM_PAIRS, PUBLISHED_COLUMNS, PUBLISHED_ROWS
from evaluation.results.result import BesideCopy, MeanResult, Result
from utils.wording import counted

NOTHING = "\N{EN DASH}"  # where there is no number
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


class MetricRow(NamedTuple):
    """A metric as it is printed."""

    title: str
    mean: str
    interval: str
    without_source_frames: str
    frames: str
    clips: str
    dropped: str
    unavailable: str  # why, "" where it was computed; then all numbers are ""


def metric_rows(result: Result) -> list[MetricRow]:
    """Every metric of a result; beside the frames dropped, the clips or pairs of no metric."""
    rows = []
    whole = "".join(
        f" + {counted(len(names), noun)}" for noun, (names, _) in left_out(result).items() if names
    )
    for name, metric in result["metrics"].items():
        column = COLUMNS[name]
        title = f"{column.title} {ARROWS[column.better]}"
        if "unavailable" in metric:
            rows.append(MetricRow(title, "", "", "", "", "", "", metric["unavailable"]))
            continue
        moved = metric["without_source_frames"]
        rows.append(
            MetricRow(
                title,
                number(metric["mean"], column.digits),
                interval(metric, column.digits),
                number(None if moved is None else moved["mean"], column.digits),
                frames(metric),
                f"{metric['clips']:,}" if "clips" in metric else NOTHING,
                f"{sum(map(len, metric['dropped'].values())):,}{whole}",
                unavailable="",
            )
        )
    return rows


def left_out(result: Result) -> dict[str, tuple[dict[str, str], int]]:
    """The clips and pairs that are in no number, with the reasons, and how many were asked for."""
    clips, pairs = result["coverage"]["clips"], result["coverage"]["pairs"]
    found = {"clip": (clips["dropped"], clips["listed"])}
    if pairs is not None:
        found["pair"] = (pairs["missing"], pairs["rows"])
    return found


def dropped(result: Result) -> list[str]:
    """Sentences on what was asked for and is in no number, or not in all of them, and why."""
    told = []
    for noun, (names, asked_for) in left_out(result).items():
        if names:
            told.append(
                f"Dropped, and in no number below: {len(names):,} of {counted(asked_for, noun)}."
            )
            told += by_reason(names)
    frames: dict[tuple[str, int], list[str]] = {}  # titles of metrics by reason and count
    for name, metric in result["metrics"].items():
        if "unavailable" not in metric:
            for reason, without in metric["dropped"].items():
                frames.setdefault((reason, len(without)), []).append(COLUMNS[name].title)
    told += [
        f"Without a value of {', '.join(titles)}: {counted(count, 'frame')} ({reason})."
        for (reason, count), titles in frames.items()
    ]
    return told


def by_reason(reasons: Mapping[str, str]) -> list[str]:
    """A line for each of the first reasons, with the first names of each."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    lines = []
    for reason, those in list(names.items())[:SHOWN]:
        more = f" and {len(those) - SHOWN:,} more" if len(those) > SHOWN else ""
        lines.append(f"{', '.join(those[:SHOWN])}{more}: {reason}")
    if len(names) > SHOWN:
        count = sum(len(those) for those in list(names.values())[SHOWN:])
        lines.append(f"And {count:,} more: result.json names them all.")
    return lines


class CopyTable(NamedTuple):
    """Metrics beside those of copying the source, which moves nothing and is as sharp as it is."""

    caption: str
    rows: list[list[str]]  # the first is the header


def copy_tables(result: Result) -> list[CopyTable]:
    """Of all frames that the source does not drive itself, and of those that moved."""
    everything, far = [], []
    for name, metric in result["metrics"].items():
        if "unavailable" in metric or "copy_source" not in metric:
            continue
        of = metric["copy_source"]
        everything.append(copy_row(name, of["without_source_frames"]))
        if of["moved"] is not None:
            far.append(copy_row(name, of["moved"]))
    tables = []
    if everything:
        caption = "All frames but those that the source drives itself."
        tables.append(CopyTable(caption, [[*COPY_HEADER], *everything]))
    if far:
        caption = (
            "Frames that moved: those that differ from the source by more than the median, which "
            f"is an L1 of {number(result['moved']['l1'], COLUMNS['l1'].digits)}."
        )
        tables.append(CopyTable(caption, [[*COPY_HEADER], *far]))
    return tables


def copy_row(name: str, beside: BesideCopy) -> list[str]:
    column, difference = COLUMNS[name], beside["difference"]
    means = (beside["result"], beside["copy_source"], difference)
    return [
        f"{column.title} {ARROWS[column.better]}",
        *(number(each["mean"], column.digits) for each in means),
        interval(difference, column.digits),
        frames(difference),
    ]


def published_rows(result: Result) -> list[list[str]]:
    """The published table with its header, and this result in the same columns as last row."""
    header = ["", *(column.title for column in PUBLISHED_COLUMNS)]
    rows = [
        [
            row.title,
            *(
                number(value, column.digits)
                for value, column in zip(row.numbers, PUBLISHED_COLUMNS, strict=True)
            ),
        ]
        for row in PUBLISHED_ROWS
    ]
    own = ["this result"]
    for column in PUBLISHED_COLUMNS:
        metric = result["metrics"].get(column.column)
        mean = None
        if metric is not None and "unavailable" not in metric:
            mean = (metric["without_source_frames"] or metric)["mean"]
        own.append(number(None if mean is None else mean * column.scale, column.digits))
    return [header, *rows, own]


def fairness(result: Result) -> str:
    """What was measured, and when the published numbers can be held against it."""
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
    """Which of our columns stand in the published table, and why."""
    columns = [
        f"{column.title} is {', '.join(filter(None, [COLUMNS[column.column].title, column.note]))}"
        for column in PUBLISHED_COLUMNS
        if column.title != COLUMNS[column.column].title
    ]
    return f"In the row of this result {'; '.join(columns)}."


def markdown(result: Result) -> str:
    """``table.md``: a document of all tables."""
    own = "**{}**".format
    published = [[escape_markdown(cell) for cell in row] for row in published_rows(result)]
    published[-1] = [own(cell) for cell in published[-1]]
    metrics = [METRIC_HEADER, *(metric_cells(row, escape_markdown) for row in metric_rows(result))]
    parts = [
        "# Evaluation",
        *map(escape_markdown, dropped(result)),
        "## Beside the published numbers",
        escape_markdown(fairness(result)),
        markdown_table(published),
        escape_markdown(conventions()),
        "## All metrics",
        markdown_table(metrics),
        escape_markdown(INTERVAL_NOTE),
        *map(escape_markdown, reasons(result)),
    ]
    if copies := copy_tables(result):
        parts.append("## Beside copying the source")
    for caption, rows in copies:
        cells = [[escape_markdown(cell) for cell in row] for row in rows]
        parts += [escape_markdown(caption), markdown_table(cells)]
    return "\n\n".join(parts) + "\n"


def metric_cells(row: MetricRow, escape: Callable[[str], str]) -> list[str]:
    """A row of the table of metrics; ``reasons`` says why one is unavailable."""
    if row.unavailable:
        return [escape(row.title), "unavailable", *[""] * 5]
    return [escape(cell) for cell in row[: len(METRIC_HEADER)]]


def reasons(result: Result) -> list[str]:
    """A sentence for every reason for which metrics are unavailable."""
    titles: dict[str, list[str]] = {}
    for name, metric in result["metrics"].items():
        if "unavailable" in metric:
            titles.setdefault(metric["unavailable"], []).append(COLUMNS[name].title)
    return [f"Unavailable: {'; '.join(those)}: {reason}" for reason, those in titles.items()]


def markdown_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows of escaped cells, the first being the header; numbers to the right."""
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, rule, *body])


def latex(result: Result) -> str:
    r"""``table.tex``: all tables with what to know about them, to ``\input`` in a document."""
    published = [[escape_latex(cell) for cell in row] for row in published_rows(result)]
    metrics = [metric_cells(row, escape_latex) for row in metric_rows(result)]
    header = [escape_latex(cell) for cell in METRIC_HEADER]
    copies = []
    for caption, rows in copy_tables(result):
        first, *others = [[escape_latex(cell) for cell in row] for row in rows]
        title = escape_latex(f"Beside copying the source: {caption}")
        copies += [title, latex_table(first, others)]
    return (
        "\n\n".join(
            [
                *map(escape_latex, dropped(result)),
                escape_latex(fairness(result)),
                latex_table(published[0], published[1:-1], published[-1:]),
                escape_latex(conventions()),
                latex_table(header, metrics),
                escape_latex(INTERVAL_NOTE),
                *map(escape_latex, reasons(result)),
                *copies,
            ]
        )
        + "\n"
    )


def latex_table(header: Sequence[str], *groups: Sequence[Sequence[str]]) -> str:
    """Groups of rows of escaped cells, with a rule above each."""
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\hline", latex_row(header)]
    for group in groups:
        lines += [r"\hline", *map(latex_row, group)]
    return "\n".join([*lines, r"\hline", r"\end{tabular}"])


def latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def frames(metric: MeanResult) -> str:
    """How many frames a mean is of, and how many are not in it as they are without an error."""
    identical = metric.get("identical", 0)
    return f"{metric['frames']:,}" + (f" + {identical:,} identical" if identical else "")


def interval(metric: MeanResult, digits: int) -> str:
    if metric["interval"] is None:
        return NOTHING
    low, high = metric["interval"]
    return f"{number(low, digits)} to {number(high, digits)}"


def one_line(text: str) -> str:
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    """Text that stands for itself in a cell or a paragraph."""
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
    return "".join(LATEX.get(character, character) for character in one_line(text))
