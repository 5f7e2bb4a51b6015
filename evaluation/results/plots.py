"""Distributions as SVG that stands inside an HTML page, in the colours of its style sheet."""

import math
from html import escape
from typing import NamedTuple

import numpy as np

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 48, WIDTH - 14, 26, HEIGHT - 44  # of the axes
MAX_BINS = 40


class Axes(NamedTuple):
    """What the axes span."""

    low: float
    high: float
    top: int  # frames

    def x(self, value: float) -> float:
        return LEFT + (value - self.low) / (self.high - self.low) * (RIGHT - LEFT)

    def y(self, count: float) -> float:
        return BOTTOM - count / self.top * (BOTTOM - TOP)


def histogram(
    values: np.ndarray,
    *,
    title: str,
    mean: float | None = None,
    mean_label: str = "",
    interval: tuple[float, float] | None = None,
) -> str:
    """The distribution of ``values`` (N,), with a line at the mean and a band over its interval.

    Values that are NaN or infinite are left out; at least one must remain.
    """
    values = values[np.isfinite(values)]
    low, high = widened(float(values.min()), float(values.max()))
    num_bins = min(MAX_BINS, max(5, math.ceil(math.sqrt(len(values)))))
    counts, edges = np.histogram(values, bins=num_bins, range=(low, high))
    axes = Axes(low, high, int(counts.max()))

    parts = [*vertical_axis(axes), *bars(axes, counts.tolist(), edges.tolist())]
    if interval is not None and low <= interval[0] <= interval[1] <= high:
        start, end = map(axes.x, interval)
        parts.append(rectangle("band", start, TOP, max(end - start, 1), BOTTOM - TOP))
    parts += horizontal_axis(axes, title)
    if mean is not None and low <= mean <= high:
        x = axes.x(mean)
        parts.append(line("mean", x, TOP - 6, x, BOTTOM))
        anchor = "start" if x < (LEFT + RIGHT) / 2 else "end"
        parts.append(text("mean-label", x, TOP - 11, f"mean {mean_label}", anchor))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Distribution of {escape(title)}">{"".join(parts)}</svg>'
    )


def vertical_axis(axes: Axes) -> list[str]:
    parts = [f'<g transform="translate(11 {(TOP + BOTTOM) / 2}) rotate(-90)">']
    parts += [text("label", 0, 0, "frames"), "</g>"]
    for tick, label in ticks(0, axes.top, smallest=1):
        y = axes.y(tick)
        parts += [line("grid", LEFT, y, RIGHT, y), text("tick", LEFT - 6, y + 3.5, label, "end")]
    return parts


def horizontal_axis(axes: Axes, title: str) -> list[str]:
    return [
        line("axis", LEFT, BOTTOM, RIGHT, BOTTOM),
        *(
            text("tick", axes.x(tick), BOTTOM + 15, label)
            for tick, label in ticks(axes.low, axes.high)
        ),
        text("label", (LEFT + RIGHT) / 2, HEIGHT - 8, title),
    ]


def bars(axes: Axes, counts: list[int], edges: list[float]) -> list[str]:
    parts = []
    for count, left, right in zip(counts, edges, edges[1:], strict=False):
        if count:
            width = max(axes.x(right) - axes.x(left) - 1, 1)
            height = max(BOTTOM - axes.y(count), 1)  # one frame among thousands is seen too
            parts.append(rectangle("bar", axes.x(left) + 0.5, BOTTOM - height, width, height))
    return parts


def rectangle(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
    )


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(kind: str, x: float, y: float, content: str, anchor: str = "middle") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def widened(low: float, high: float) -> tuple[float, float]:
    """A range that can be divided, around values that are all (nearly) the same too."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    margin = 0.1 * abs(low) or 0.1
    return low - margin, high + margin


def ticks(low: float, high: float, smallest: float = 0) -> list[tuple[float, str]]:
    """About five round numbers from ``low`` to ``high``, with what is written at them."""
    rough = max((high - low) / 5, smallest)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * min(factor for factor in (1, 2, 5, 10) if factor * power >= 0.999 * rough)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    return [(step * number, f"{step * number:,.{digits}f}") for number in numbers]
