"""High dynamic range and wide gamut against values worked out by hand, and through real files."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from media.colours import BT709, BT2020, HLG, P3, PQ, light_to_pq, pq_to_light, srgb_table
from media.video import frames_at, read_frames
from tests.datasets.conftest import encode


def converted(primaries: int, transfer: int, *colours: tuple[float, float, float]) -> np.ndarray:
    """Convert colours in [0, 1] to 8 bits: (N, 3)."""
    table = srgb_table(primaries, transfer)
    assert table is not None
    return table((255 * np.array([colours])).round().astype(np.uint8))[0].astype(int)


@pytest.mark.parametrize(("primaries", "transfer"), [(BT709, 1), (2, 2), (6, 6), (5, 13)])
def test_colours_of_a_screen_stay_as_they_are(primaries, transfer):
    assert srgb_table(primaries, transfer) is None


def test_pq_is_that_of_its_standard():
    light = np.array([0.0, 0.1, 10, 100, 203, 1000, 10000])
    values = np.array([0.0, 0.0623, 0.2997, 0.5081, 0.5807, 0.7518, 1.0])
    np.testing.assert_allclose(light_to_pq(light), values, atol=1e-4)
    np.testing.assert_allclose(pq_to_light(light_to_pq(light)), light, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("transfer", "skin"), [(PQ, 0.4377), (HLG, 0.4916)])
def test_what_is_half_as_bright_as_a_screen_is_shown_so(transfer, skin):
    """50 cd/m^2: a quarter of a screen's white, 137 in sRGB; nearly all of it below the knee."""
    ((red, green, blue),) = converted(BT2020, transfer, (skin, skin, skin))
    assert max(red, green, blue) - min(red, green, blue) <= 1
    assert abs(green - 137) <= 3


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_brighter_is_never_darker_and_grey_stays_grey(transfer):
    greys = converted(BT2020, transfer, *[(v, v, v) for v in np.linspace(0, 1, 50)])
    assert (np.diff(greys[:, 1]) >= 0).all()
    assert np.ptp(greys, axis=1).max() <= 1
    assert greys[0].max() == 0
    assert greys[-1].min() == 255


def test_a_colour_of_p3_is_that_of_srgb():
    """Expected values are from the matrices of the CSS standard."""
    assert np.abs(converted(P3, 13, (200 / 255, 100 / 255, 80 / 255)) - (215, 93, 73)).max() <= 1
    np.testing.assert_allclose(converted(P3, 13, (0.5, 0.5, 0.5)), 128, atol=1)


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_an_hdr_video_is_brought_to_srgb_and_the_log_says_so(tmp_path, caplog, transfer, name):
    path = tmp_path / "hdr.mp4"
    with av.open(str(path), "w") as container:
        options = {"x265-params": "log-level=none:qp=4"}
        stream = container.add_stream("libx265", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p10le"
        codec = stream.codec_context
        codec.color_primaries, codec.color_trc = BT2020, transfer
        codec.colorspace, codec.color_range = 9, 1  # BT.2020's matrix, limited range
        for number in range(3):
            frame = av.VideoFrame(64, 48, "yuv420p10le")
            for plane, value in zip(frame.planes, (64 + 876 * 0.45, 512, 512), strict=True):
                plane.update(np.full(plane.buffer_size // 2, round(value), "<u2").tobytes())
            frame.pts, frame.time_base = number, Fraction(1, 25)
            frame.colorspace, frame.color_range = 9, 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with caplog.at_level(logging.INFO):
        frames = [frame.image for frame in read_frames(path)]
    expected = converted(BT2020, transfer, (0.45, 0.45, 0.45))[0]
    assert np.abs(frames[0].astype(int) - expected).max() <= 3
    np.testing.assert_array_equal(frames_at(path, [2]), frames[2:])
    assert [line for line in caplog.messages if f"HDR ({name})" in line] == [
        f"{path} is HDR ({name}), which is mapped to sRGB."
    ]


def test_an_ordinary_video_is_not_said_to_be_hdr(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        list(read_frames(encode(tmp_path / "clip.mp4")))
    assert "HDR" not in caplog.text
