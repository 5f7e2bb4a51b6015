from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from datasets.preprocessing.crop_filter import CropFilter
from media.decoder import open_video
from media.display import Display, upright
from media.pictures import Box
from tests.datasets.conftest import with_matrix
from tests.datasets.preprocessing.conftest import HEIGHT, WIDTH, write_raw

BOXES = [
    Box(20, 12, 100, 108),
    Box(0, 0, WIDTH, HEIGHT),
    Box(31.4, 7.7, 90.2, 77.1),
    Box(100, 60, 160, 120),
]


def plain(width: int = WIDTH, height: int = HEIGHT) -> Display:
    """The display of a video that states nothing."""
    return Display((height, width), Fraction(1), primaries=2, transfer=2)


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
    found = CropFilter(box, plain(), 48)(frame)
    assert found.shape == (48, 48, 3)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 1.5
    assert np.abs(found.astype(int) - np.asarray(whole)).max() < 8


@pytest.mark.parametrize("format", ["yuv420p", "yuv411p"])
@pytest.mark.parametrize("box", BOXES)
def test_colours_are_where_they_are_in_the_whole_picture(format, box):
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    frame = as_video(noise.repeat(4, 0).repeat(4, 1)).reformat(format=format)
    whole = Image.fromarray(upright(frame)).resize((64, 64), Image.Resampling.BICUBIC, box=box)
    difference = np.abs(CropFilter(box, plain(), 64)(frame).astype(int) - np.asarray(whole))
    assert difference.mean() < 0.3
    assert difference.max() < 16


@pytest.mark.parametrize("format", ["yuv420p", "yuv411p", "yuv410p", "yuv444p10le", "gray"])
@pytest.mark.parametrize("box", [Box(0, 0, 161, 121), Box(70, 50, 161, 121), Box(31, 41, 62, 63)])
def test_no_row_or_column_of_an_odd_video_is_lost(format, box):
    frame = smooth_frame(161, 121).reformat(format=format)
    whole = Image.fromarray(upright(frame)).resize((48, 48), Image.Resampling.BICUBIC, box=box)
    found = CropFilter(box, plain(161, 121), 48)(frame)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 1.5


@pytest.mark.parametrize(
    "matrix",
    [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0), (-1, 0, 0, 1), (0, 1, 1, 0)],
)
def test_turned_and_mirrored_videos_are_cut_upright(tmp_path, matrix):
    path = with_matrix(write_raw(tmp_path / "raw.mp4", Fraction(25), 1), *matrix)
    with open_video(path) as video:
        _, frame = next(video.decode())
        picture = upright(frame)
        assert picture.shape[:2] == ((HEIGHT, WIDTH) if matrix[0] else (WIDTH, HEIGHT))
        box = Box(10, 30, 70, 110)
        whole = Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC, box=box)
        found = CropFilter(box, video.display(), 48)(frame)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 2


def test_of_pixels_that_are_not_square_the_box_is_cut_as_it_is_seen():
    frame, box = smooth_frame(), Box(41, 12, 133, 100)
    display = Display((HEIGHT, 2 * WIDTH), Fraction(2), primaries=2, transfer=2)
    shown = Image.fromarray(display.picture(frame))
    assert shown.size == (2 * WIDTH, HEIGHT)
    whole = shown.resize((48, 48), Image.Resampling.BICUBIC, box=box)
    found = CropFilter(box, display, 48)(frame)
    assert np.abs(found.astype(int) - np.asarray(whole)).mean() < 2


@pytest.mark.parametrize("size", [(WIDTH // 2, HEIGHT // 2), (2 * WIDTH, 2 * HEIGHT)])
def test_of_a_video_that_changes_its_size_the_same_region_is_cut(size):
    region = CropFilter(BOXES[0], plain(), 48)
    before = region(smooth_frame()).astype(int)
    assert np.abs(region(smooth_frame(*size)).astype(int) - before).mean() < 2
    np.testing.assert_array_equal(region(smooth_frame()), before)


def test_a_region_can_be_taken_of_every_frame_of_a_file(tmp_path):
    region = CropFilter(BOXES[0], plain(), 32)
    with open_video(write_raw(tmp_path / "raw.mp4", Fraction(25), 1)) as video:
        greens = [region(frame)[..., 1].mean() for _, frame in video.decode()]
    np.testing.assert_allclose(np.diff(greens), 8, atol=1)
