"""Histograms as SVG for a page, drawn by matplotlib in the colours of the page's style sheet."""

import io
import math
import re
from html import escape
from typing import Any

import numpy as np

SIZE = (3.75, 2.2)  # inches
MAX_BINS = 40
# Colours that stand for those of the style sheet, so that a plot follows the dark and light page.
COLOURS = {
    name: f"#0000{number:02x}"
    for number, name in enumerate(("text", "soft", "line", "bar", "mean"), 1)
}


def histogram(
    values: np.ndarray,
    *,
    title: str,
    mean: float | None = None,
    mean_label: str = "",
    interval: tuple[float, float] | None = None,
) -> str:
    """Draw the distribution of ``values`` (N,), a line at the mean and a band over its interval.

    Values that are NaN or infinite are left out; at least one must remain.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    values = values[np.isfinite(values)]
    low, high = widened(float(values.min()), float(values.max()))
    num_bins = min(MAX_BINS, max(5, math.ceil(math.sqrt(len(values)))))
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "",  # equal plots are equal files
        "font.family": "sans-serif",
        "font.size": 8,
        "text.color": COLOURS["text"],
        "axes.labelcolor": COLOURS["text"],
        "axes.edgecolor": COLOURS["soft"],
        "xtick.labelcolor": COLOURS["soft"],
        "ytick.labelcolor": COLOURS["soft"],
        "grid.color": COLOURS["line"],
        "text.parse_math": False,
    }
    drawn = io.StringIO()
    with mpl.rc_context(settings):
        figure = Figure(figsize=SIZE)
        axes = figure.add_axes((0.17, 0.2, 0.8, 0.68), xlabel=title, ylabel="frames")
        axes.hist(values, bins=num_bins, range=(low, high), color=COLOURS["bar"], rwidth=0.95)
        axes.set_xlim(low, high)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.spines[["left", "top", "right"]].set_visible(False)
        axes.tick_params(bottom=False, left=False)
        if interval is not None and low <= interval[0] <= interval[1] <= high:
            axes.axvspan(*interval, color=COLOURS["mean"], alpha=0.16, linewidth=0)
        if mean is not None and low <= mean <= high:
            axes.axvline(mean, color=COLOURS["mean"])
            axes.set_title(f"mean {mean_label}", color=COLOURS["mean"], fontsize=8)
        for artist in axes.findobj():
            artist.set_clip_on(False)  # nothing lies outside; clip paths would refer to each other
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return as_part_of_page(drawn.getvalue(), f"Distribution of {title}")


def as_part_of_page(svg: str, label: str) -> str:
    """Turn an SVG file into an element of a page, with the colours of its style sheet."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>.*?</defs>", "", svg, count=1, flags=re.DOTALL)  # styles for the page
    svg = re.sub(r' (id|xmlns|xmlns:xlink|version)="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[^"]*pt"', "", svg)
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)


def widened(low: float, high: float) -> tuple[float, float]:
    """Widen a range whose ends are (nearly) the same, so that it can be divided."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = 0.1 * abs(low) or 0.1
    return low - margin, high + margin
