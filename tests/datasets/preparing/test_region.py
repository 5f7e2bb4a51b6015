from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from datasets.geometry import Box
from datasets.preparing.region import Region
from datasets.video_file import open_video, upright
from modules.errors import InputError
from tests.datasets.preparing.conftest import HEIGHT, WIDTH, write_raw

BOXES = [
    Box(20, 12, 100, 108),
    Box(0, 0, WIDTH, HEIGHT),
    Box(31.4, 7.7, 90.2, 77.1),
    Box(100, 60, 160, 120),
]


def smooth_frame(width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    image = np.stack([40 + x * 150, 60 + 100 * x * y, 200 - y * 150], -1).astype(np.uint8)
    return as_video(image)


def as_video(image: np.ndarray) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    frame.time_base = Fraction(1, 25)
    return frame


@pytest.mark.parametrize("box", BOXES)
def test_a_region_is_the_box_of_the_whole_picture(box):
    frame = smooth_frame()
    whole = Image.fromarray(upright(frame)).resize((48, 48), Image.Resampling.BICUBIC, box=box)
    found = Region(box, (WIDTH, HEIGHT), 48)(frame)
    assert found.shape == (48, 48, 3)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 1.5
    assert np.abs(found.astype(int) - np.asarray(whole)).max() < 8


@pytest.mark.parametrize("format", ["yuv420p", "yuv411p"])
@pytest.mark.parametrize("box", BOXES)
def test_colours_are_where_they_are_in_the_whole_picture(format, box):
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    frame = as_video(noise.repeat(4, 0).repeat(4, 1)).reformat(format=format)
    whole = Image.fromarray(upright(frame)).resize((64, 64), Image.Resampling.BICUBIC, box=box)
    difference = np.abs(Region(box, (WIDTH, HEIGHT), 64)(frame).astype(int) - np.asarray(whole))
    assert difference.mean() < 0.3
    assert difference.max() < 16


@pytest.mark.parametrize("format", ["yuv420p", "yuv411p", "yuv410p", "yuv444p10le", "gray"])
@pytest.mark.parametrize("box", [Box(0, 0, 161, 121), Box(70, 50, 161, 121), Box(31, 41, 62, 63)])
def test_no_row_or_column_of_an_odd_video_is_lost(format, box):
    frame = smooth_frame(161, 121).reformat(format=format)
    whole = Image.fromarray(upright(frame)).resize((48, 48), Image.Resampling.BICUBIC, box=box)
    found = Region(box, (161, 121), 48)(frame)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 1.5


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turned_videos_are_cut_upright(tmp_path, quarters):
    path = write_raw(tmp_path / "raw.mp4", Fraction(25), 1)
    tag_as_turned(path, quarters)
    with open_video(path) as video:
        _, frame = next(video.decode())
        picture = upright(frame)
        assert picture.shape[:2] == ((HEIGHT, WIDTH) if quarters % 2 == 0 else (WIDTH, HEIGHT))
        box = Box(10, 30, 70, 110)
        whole = Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC, box=box)
        found = Region(box, (picture.shape[1], picture.shape[0]), 48)(frame)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 2


def tag_as_turned(path: Path, quarters: int) -> None:
    """Says in an mp4 that it is shown turned clockwise."""
    zero, one, minus_one = b"\0\0\0\0", b"\0\1\0\0", b"\xff\xff\0\0"
    a, b = [(one, zero), (zero, one), (minus_one, zero), (zero, minus_one)][quarters]
    c = {zero: zero, one: minus_one, minus_one: one}[b]
    data = path.read_bytes()
    start = data.index(one + 3 * zero + one, data.index(b"tkhd"))
    matrix = a + b + zero + c + a
    path.write_bytes(data[:start] + matrix + data[start + len(matrix) :])


def test_a_video_that_changes_its_size_is_refused():
    region = Region(BOXES[0], (WIDTH, HEIGHT), 48)
    region(smooth_frame())
    with pytest.raises(InputError, match="changes its size"):
        region(smooth_frame(width=80, height=60))


def test_a_region_can_be_taken_of_every_frame_of_a_file(tmp_path):
    region = Region(BOXES[0], (WIDTH, HEIGHT), 32)
    with open_video(write_raw(tmp_path / "raw.mp4", Fraction(25), 1)) as video:
        greens = [region(frame)[..., 1].mean() for _, frame in video.decode()]
    np.testing.assert_allclose(np.diff(greens), 8, atol=1)
