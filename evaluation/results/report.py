"""``report.html``: what was measured and how, on one page that needs no other file."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from evaluation.metrics.registry import COLUMNS
from evaluation.results.frame_table import FrameTable
from evaluation.results.plots import histogram
from evaluation.results.result import Result
from evaluation.results.tables import (
    INTERVAL_NOTE,
    METRIC_HEADER,
    PROTOCOLS,
    conventions,
    copy_tables,
    fairness,
    metric_rows,
    number,
    published_rows,
)

STYLE = Path(__file__).with_suffix(".css")
LARGEST_PICTURE = 512  # pixels, so that the page stays small
LARGEST_ERROR = 0.5  # white in the map
UNFOLDED = 5  # names of a list that is shown at once

# Nothing is loaded from anywhere, whatever a name in the page contains.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Example(NamedTuple):
    """A frame to be shown: RGB uint8 pictures (H, W, 3)."""

    clip: str
    frame: str
    value: float  # what the frames are ranked by
    source: np.ndarray | None
    real: np.ndarray
    generated: np.ndarray


def html(
    result: Result,
    table: FrameTable,
    best: Sequence[Example],
    worst: Sequence[Example],
    ranked_by: str | None,
) -> str:
    """The page, of ``result`` and the frames it is made from.

    ``best`` and ``worst`` are in order, ranked by the column ``ranked_by``; None where there is no
    such column, and then no frame.
    """
    sections = [
        ("What was dropped", dropped_section(result)),
        ("All metrics", metrics_section(result)),
        ("Beside copying the source", copy_section(result)),
        ("Beside the published numbers", published_section(result)),
        ("Distributions", distributions(result, table)),
    ]
    if ranked_by is not None:
        sections += [
            ("Worst frames", examples_section(worst, ranked_by)),
            ("Best frames", examples_section(best, ranked_by)),
        ]
    sections.append(("Conditions", conditions(result)))
    body = "".join(
        f"<section><h2>{escape(title)}</h2>{content}</section>"
        for title, content in sections
        if content
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="InMemoryFile-Security-Policy" content="{POLICY}">'
        f"<title>Evaluation</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>"
        f"<body><main>{heading(result)}{body}</main></body></html>\n"
    )


def heading(result: Result) -> str:
    counts, coverage = result["counts"], result["coverage"]
    persons = "cross identity" if result["cross_identity"] else "same identity"
    dropped = len(coverage["clips"]["dropped"])
    facts = {
        "frames": counts["frames"],
        "clips": counts["clips"],
        "identities": counts["identities"],
        "clips dropped": dropped,
    }
    if coverage["pairs"] is not None:
        facts["pairs used"] = coverage["pairs"]["used"]
        facts["pairs missing"] = len(coverage["pairs"]["missing"])
    tiles = "".join(f"<li><b>{value:,}</b>{escape(name)}</li>" for name, value in facts.items())
    return (
        "<h1>Evaluation</h1>"
        f'<p class="soft">Protocol <b>{escape(result["protocol"])}</b>: '
        f"{escape(PROTOCOLS[result['protocol']])}, {persons}.</p>"
        f'<ul class="facts">{tiles}</ul>'
    )


def metrics_section(result: Result) -> str:
    rows = []
    for row in metric_rows(result):
        if row.unavailable:
            width = len(METRIC_HEADER) - 1
            reason = escape(f"unavailable: {row.unavailable}")
            cells = f'<td class="reason" colspan="{width}"><span>{reason}</span></td>'
        else:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1 : len(METRIC_HEADER)])
        rows.append(f'<tr><th scope="row">{escape(row.title)}</th>{cells}</tr>')
    return f'{html_table(METRIC_HEADER, rows)}<p class="soft">{escape(INTERVAL_NOTE)}</p>'


def copy_section(result: Result) -> str:
    parts = []
    for caption, (header, *rows) in copy_tables(result):
        body = [html_row(title, cells) for title, *cells in rows]
        parts.append(f'<p class="soft">{escape(caption)}</p>{html_table(header, body)}')
    return "".join(parts)


def published_section(result: Result) -> str:
    header, *published = published_rows(result)
    rows = [
        html_row(title, numbers, style="own" if title == published[-1][0] else "")
        for title, *numbers in published
    ]
    return (
        f"<p>{escape(fairness(result))}</p>{html_table(header, rows)}"
        f'<p class="soft">{escape(conventions())}</p>'
    )


def html_row(title: str, cells: Iterable[str], style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    body = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr{named}><th scope="row">{escape(title)}</th>{body}</tr>'


def html_table(header: Sequence[str], rows: Iterable[str]) -> str:
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    return (
        f'<div class="scroll"><table><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def distributions(result: Result, table: FrameTable) -> str:
    """A histogram of every column that has a value for each frame."""
    plots = []
    for name, column in COLUMNS.items():
        metric = result["metrics"].get(name)
        if name not in table.values or metric is None or "unavailable" in metric:
            continue
        values = table.values[name]
        infinite = int(np.isinf(values).sum())
        note = f"infinite values, not drawn: {infinite:,}" if infinite else ""
        if not np.isfinite(values).any():
            plots.append(f"<div><p>{escape(column.title)}: no finite value</p></div>")
            continue
        interval = metric["interval"]
        plot = histogram(
            values,
            title=column.title,
            mean=metric["mean"],
            mean_label=number(metric["mean"], column.digits),
            interval=None if interval is None else (interval[0], interval[1]),
        )
        plots.append(f'<div>{plot}<p class="soft">{note}</p></div>')
    if not plots:
        return ""
    return (
        '<p class="soft">Each frame counts once; the line is the mean, the band around it its 95 % '
        f'interval.</p><div class="plots">{"".join(plots)}</div>'
    )


def examples_section(examples: Sequence[Example], ranked_by: str) -> str:
    """A row of pictures for each example."""
    if not examples:
        return ""
    column = COLUMNS[ranked_by]
    gradient = "linear-gradient(to right, #000, #f00 33.33%, #ff0 66.67%, #fff)"
    legend = (
        f'<p class="soft">By {escape(column.title)}, where {column.better} is better. The error '
        "map is the mean absolute difference over the channels, in [0, 1]:</p>"
        f'<div class="legend">0<span style="background: {gradient}"></span>'
        f"{LARGEST_ERROR} and more</div>"
    )
    return legend + "".join(
        example_row(example, column.title, column.digits) for example in examples
    )


def example_row(example: Example, title: str, digits: int) -> str:
    pictures = {
        "source": example.source,
        "driving": example.real,
        "result": example.generated,
        "error": error_map(example.real, example.generated),
    }
    figures = []
    for caption, picture in pictures.items():
        shown = '<div class="none">not given</div>'
        if picture is not None:
            shown = f'<img src="{data_uri(picture)}" alt="{caption}">'
        figures.append(f"<figure>{shown}<figcaption>{caption}</figcaption></figure>")
    return (
        f'<div class="example"><p><b>{escape(example.clip)}</b> / {escape(example.frame)}: '
        f"{escape(title)} <b>{number(example.value, digits)}</b></p>"
        f"<div>{''.join(figures)}</div></div>"
    )


def error_map(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """The mean absolute difference over the channels, (H, W, 3) uint8, from black over red and
    yellow to white at ``LARGEST_ERROR``."""
    error = np.abs(real / 255 - generated / 255).mean(axis=2)
    thirds = 3 * np.minimum(error / LARGEST_ERROR, 1)
    colour = np.clip(np.stack([thirds, thirds - 1, thirds - 2], axis=2), 0, 1)
    return (255 * colour).round().astype(np.uint8)


def data_uri(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 as a PNG within the page."""
    image = Image.fromarray(picture)
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    stored = io.BytesIO()
    image.save(stored, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode()}"


def dropped_section(result: Result) -> str:
    """Every clip, pair and frame that is missing, by reason."""
    coverage = result["coverage"]
    clips, pairs = coverage["clips"], coverage["pairs"]
    parts = [
        f"<p>{clips['used']:,} of {clips['listed']:,} clips were used.</p>",
        *folded_lists(names_by_reason(clips["dropped"])),
    ]
    if pairs is not None:
        parts += [
            f"<h3>Pairs</h3><p>{pairs['used']:,} of {pairs['rows']:,} rows were used; "
            f"{pairs['duplicates']:,} are repeated.</p>",
            *folded_lists(names_by_reason(pairs["missing"])),
        ]
    frames: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, metric in result["metrics"].items():
        if "unavailable" not in metric:
            for reason, names in metric["dropped"].items():
                frames.setdefault((reason, tuple(names)), []).append(COLUMNS[name].title)
    if frames:
        parts.append("<h3>Frames without a value</h3>")
    for (reason, missing), titles in frames.items():
        parts += folded_lists({f"{reason} ({'; '.join(titles)})": missing})
    return "".join(parts)


def names_by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return names


def folded_lists(lists: Mapping[str, Sequence[str]]) -> list[str]:
    """A list for each reason, folded where it is long."""
    return [
        f"<details{' open' * (len(names) <= UNFOLDED)}>"
        f"<summary><b>{len(names):,}</b> {escape(reason)}</summary>"
        f"<ul>{''.join(f'<li>{escape(name)}</li>' for name in names)}</ul></details>"
        for reason, names in lists.items()
    ]


def conditions(result: Result) -> str:
    """All that the numbers depend on."""
    single = {key: value for key, value in result["conditions"].items() if not is_group(value)}
    single["duration"] = f"{result['duration_seconds']:.1f} s"
    parts = [definitions(single)]
    for key, value in result["conditions"].items():
        if is_group(value):
            parts.append(f"<h3>{escape(key)}</h3>{definitions(value)}")
    return "".join(parts)


def is_group(value: Any) -> bool:
    return isinstance(value, dict)


def definitions(entries: Mapping[str, Any]) -> str:
    items = (
        f"<dt>{escape(str(key))}</dt><dd>{escape('none' if value is None else str(value))}</dd>"
        for key, value in entries.items()
    )
    return f"<dl>{''.join(items)}</dl>"
