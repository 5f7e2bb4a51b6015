"""Page ``report.html``: measurements and their conditions, in a file that needs no other.

``report.html.jinja`` beside this file has its text and structure, ``report.css`` its style.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from evaluation.metrics.registry import COLUMNS
from evaluation.results.plots import histogram
from evaluation.results.result import Result, computed_metrics, unavailable_metrics
from evaluation.results.tables import (
    INTERVAL_NOTE,
    PROTOCOLS,
    arrowed,
    comparability,
    conventions,
    copy_tables,
    grouped,
    metrics_table,
    number,
    published_table,
    without_value,
)

FOLDER = Path(__file__).parent
TEMPLATE, STYLE = "report.html.jinja", "report.css"
LARGEST_PICTURE = 512  # pixels, so that the page stays small
LARGEST_ERROR = 0.5  # white in the map


class Example(NamedTuple):
    """Frame that the report shows: RGB uint8 pictures (H, W, 3)."""

    clip: str
    frame: str
    value: float  # what the frames are ranked by
    source: np.ndarray | None
    real: np.ndarray
    generated: np.ndarray


def html(
    result: Result,
    table: pd.DataFrame,
    examples: Mapping[str, Sequence[Example]],
    ranked_by: str | None,
) -> str:
    """Write the page of ``result`` and the table of frames that it is made from.

    ``examples`` are frames by title, ranked by the column ``ranked_by``; None where there is no
    such column, and then no frame.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pairs = result["coverage"]["pairs"]
    page = environment.get_template(TEMPLATE).render(
        style=(FOLDER / STYLE).read_text(encoding="utf-8"),
        result=result,
        protocol=PROTOCOLS[result["protocol"]],
        metrics=metrics_table(result),
        unavailable={arrowed(name): why for name, why in unavailable_metrics(result).items()},
        interval_note=INTERVAL_NOTE,
        copies=copy_tables(result),
        published=published_table(result),
        comparability=comparability(result),
        conventions=conventions(),
        dropped_clips=by_reason(result["coverage"]["clips"]["dropped"]),
        dropped_pairs=by_reason({} if pairs is None else pairs["missing"]),
        dropped_frames=without_value(result),
        distributions=distributions(result, table),
        ranked_by=None if ranked_by is None else COLUMNS[ranked_by],
        examples=examples,
        pictures=pictures,
        number=number,
        largest_error=LARGEST_ERROR,
    )
    return page + "\n"


class Distribution(NamedTuple):
    """Histogram of a column."""

    title: str
    plot: str  # SVG, "" where there is no finite value
    infinite: int  # values that are not drawn


def by_reason(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Group names by the reason why they were dropped."""
    return grouped((reason, name) for name, reason in reasons.items())


def distributions(result: Result, table: pd.DataFrame) -> list[Distribution]:
    """Draw a histogram of every column that has a value for each frame."""
    plots = []
    for name, metric in computed_metrics(result).items():
        if name not in table:
            continue
        column = COLUMNS[name]
        values, plot, interval = table[name].to_numpy(), "", metric["interval"]
        if np.isfinite(values).any():
            plot = histogram(
                values,
                title=column.title,
                mean=metric["mean"],
                mean_label=number(metric["mean"], column.digits),
                interval=None if interval is None else (interval[0], interval[1]),
            )
        plots.append(Distribution(column.title, plot, int(np.isinf(values).sum())))
    return plots


def pictures(example: Example) -> dict[str, str | None]:
    """Encode the pictures of an example, by caption; None for a source that is not given."""
    source = None if example.source is None else data_uri(example.source)
    return {
        "source": source,
        "driving": data_uri(example.real),
        "result": data_uri(example.generated),
        "error": data_uri(error_map(example.real, example.generated)),
    }


def error_map(real: np.ndarray, generated: np.ndarray) -> np.ndarray:
    """Draw the mean absolute difference over the channels as a picture (H, W, 3) uint8.

    Its colours go from black over red and yellow to white at ``LARGEST_ERROR``.
    """
    error = np.abs(real / 255 - generated / 255).mean(axis=2)
    thirds = 3 * np.minimum(error / LARGEST_ERROR, 1)
    colour = np.clip(np.stack([thirds, thirds - 1, thirds - 2], axis=2), 0, 1)
    return (255 * colour).round().astype(np.uint8)


def data_uri(picture: np.ndarray) -> str:
    """Encode a picture (H, W, 3) uint8 as a PNG within the page."""
    image = Image.fromarray(picture)
    image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
    stored = io.BytesIO()
    image.save(stored, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode()}"
