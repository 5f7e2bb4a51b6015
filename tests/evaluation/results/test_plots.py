import re
from xml.etree import ElementTree

import numpy as np
import pytest

from evaluation.results.plots import histogram, widened


def paths(svg: str, colour: str) -> list[np.ndarray]:
    """The corners (N, 2) of all paths in a colour of the style sheet."""
    found = []
    for path in ElementTree.fromstring(svg).iter("path"):
        if f"var(--{colour})" in path.get("style", ""):
            points = re.findall(r"(-?[\d.]+) (-?[\d.]+)", path.get("d"))
            found.append(np.array(points, float))
    return found


def test_bars_are_as_high_as_their_share_of_frames():
    bars = paths(histogram(np.repeat([0.0, 5.0, 10.0], [10, 20, 5]), title="L1"), "bar")
    heights = [height for bar in bars if (height := np.ptp(bar[:, 1])) > 0]
    assert np.divide(heights, max(heights)) == pytest.approx([0.5, 1, 0.25])
    width = 270  # of the view box
    assert all(0 <= bar[:, 0].min() <= bar[:, 0].max() <= width for bar in bars)


def test_the_mean_and_its_interval_stand_on_the_axis():
    svg = histogram(
        np.array([0.0, 4.0]), title="L1", mean=1.0, mean_label="1.00", interval=(0.0, 2.0)
    )
    band, mean = paths(svg, "mean")
    (axis,) = paths(svg, "soft")
    left, width = axis[:, 0].min(), np.ptp(axis[:, 0])
    assert mean[:, 0] == pytest.approx(left + width / 4)
    assert [band[:, 0].min(), band[:, 0].max()] == pytest.approx([left, left + width / 2])
    assert "mean 1.00" in svg


@pytest.mark.parametrize(
    "values",
    [[0.0], [0.25] * 9, [-3.0, -3.0], [1e-300, 2e-300], [1e12, 1e12 + 1], [30.0, np.inf, np.nan]],
)
def test_any_finite_values_make_a_picture(values):
    svg = histogram(np.array(values), title="<L1> & $co$", mean=values[0])
    assert any(np.ptp(bar[:, 1]) > 0 for bar in paths(svg, "bar"))
    assert "nan" not in svg
    assert svg.count("&lt;L1&gt; &amp; $co$") == 2


def test_frames_are_counted_in_whole_numbers():
    svg = histogram(np.array([0.0, 10.0, 10.0]), title="L1")  # whole numbers on the other axis too
    words = [text.text for text in ElementTree.fromstring(svg).iter("text")]
    assert words.count("0") == 2
    assert not [word for word in words if "." in word]


def test_a_range_of_one_value_is_widened_around_it():
    assert widened(2.0, 2.0) == pytest.approx((1.8, 2.2))
    assert widened(0.0, 0.0) == pytest.approx((-0.1, 0.1))
    assert widened(1.0, 2.0) == (1.0, 2.0)


def test_a_plot_names_no_colour_of_its_own_and_nothing_outside_of_it():
    svg = histogram(np.arange(9.0), title="L1", mean=4.0, interval=(3.0, 5.0))
    assert not re.search(r"#[0-9a-f]{3}|rgb|url|href|http|id=", svg)
    assert svg == histogram(np.arange(9.0), title="L1", mean=4.0, interval=(3.0, 5.0))
