import re
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation.results.plots import BOTTOM, LEFT, RIGHT, TOP, histogram, ticks, widened


def shapes(svg: str, name: str, kind: str) -> list[ElementTree.Element]:
    return [shape for shape in ElementTree.fromstring(svg).iter(name) if shape.get("class") == kind]


def test_bars_are_as_high_as_their_share_of_frames():
    svg = histogram(np.repeat([0.0, 5.0, 10.0], [10, 20, 5]), title="L1")
    bars = shapes(svg, "rect", "bar")
    heights = [float(bar.get("height")) for bar in bars]
    assert heights == pytest.approx([(BOTTOM - TOP) / 2, BOTTOM - TOP, (BOTTOM - TOP) / 4], abs=0.1)
    assert all(
        LEFT <= float(bar.get("x")) <= float(bar.get("x")) + float(bar.get("width")) <= RIGHT
        for bar in bars
    )


def test_the_mean_and_its_interval_stand_on_the_axis():
    svg = histogram(
        np.array([0.0, 4.0]), title="L1", mean=1.0, mean_label="1.00", interval=(0.0, 2.0)
    )
    (mean,) = shapes(svg, "line", "mean")
    (band,) = shapes(svg, "rect", "band")
    assert float(mean.get("x1")) == pytest.approx(LEFT + (RIGHT - LEFT) / 4, abs=0.1)
    assert float(band.get("width")) == pytest.approx((RIGHT - LEFT) / 2, abs=0.1)
    assert "mean 1.00" in svg


@pytest.mark.parametrize(
    "values",
    [[0.0], [0.25] * 9, [-3.0, -3.0], [1e-300, 2e-300], [1e12, 1e12 + 1], [30.0, np.inf, np.nan]],
)
def test_any_finite_values_make_a_picture(values):
    svg = histogram(np.array(values), title="<L1> & co", mean=values[0])
    assert len(shapes(svg, "rect", "bar")) >= 1
    assert "nan" not in svg
    assert "&lt;L1&gt; &amp; co" in svg


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.031, 0.052, ["0.035", "0.040", "0.045", "0.050"]),
        (-12, 31, ["-10", "0", "10", "20", "30"]),
        (0, 12345, ["0", "5,000", "10,000"]),
    ],
)
def test_ticks_are_round_numbers_within_the_range(low, high, labels):
    assert [label for _, label in ticks(low, high)] == labels
    assert all(low <= tick <= high for tick, _ in ticks(low, high))


def test_frames_are_counted_in_whole_numbers():
    assert [label for _, label in ticks(0, 2, smallest=1)] == ["0", "1", "2"]


def test_a_range_of_one_value_is_widened_around_it():
    assert widened(2.0, 2.0) == pytest.approx((1.8, 2.2))
    assert widened(0.0, 0.0) == pytest.approx((-0.1, 0.1))
    assert widened(1.0, 2.0) == (1.0, 2.0)


def test_a_plot_names_no_colour_of_its_own():
    assert not re.search(r"#[0-9a-f]{3}|style=", histogram(np.arange(9.0), title="L1", mean=4.0))
