import numpy as np
import pytest

from faces.geometry import Box, Geometry

PICTURE = 640, 480


def test_a_box_knows_its_sides_and_centre():
    box = Box(10, 20, 40, 80)
    assert (box.width, box.height, box.centre) == (30, 60, (25, 50))
    assert box.scaled(2, 0.5) == Box(20, 10, 80, 40)


@pytest.mark.parametrize(
    ("box", "square"),
    [
        (Box(100, 100, 150, 200), Box(75, 100, 175, 200)),  # grows on both sides
        (Box(0, 100, 50, 200), Box(0, 100, 100, 200)),  # shifted from the border
        (Box(590, 380, 640, 480), Box(540, 380, 640, 480)),
        (Box(20, 0, 620, 470), Box(80, 0, 560, 480)),  # the picture is too small for it
        (Box(30, 40, 70, 80), Box(30, 40, 70, 80)),
    ],
)
def test_a_box_is_widened_to_a_square_within_the_picture(box, square):
    assert box.squared(*PICTURE) == square


def test_a_square_holds_its_box_wherever_the_picture_allows_it():
    draws = np.random.default_rng(0)
    for _ in range(200):
        left, right = sorted(draws.uniform(0, 640, 2))
        top, bottom = sorted(draws.uniform(0, 480, 2))
        square = Box(left, top, right, bottom).squared(*PICTURE)
        assert square.width == pytest.approx(square.height)
        assert 0 <= square.left <= square.right <= 640.001
        assert 0 <= square.top <= square.bottom <= 480.001
        if right - left <= 480:
            assert square.left <= left + 1e-9
            assert square.right >= right - 1e-9
            assert square.top <= top + 1e-9
            assert square.bottom >= bottom - 1e-9


def test_a_box_too_large_for_the_picture_is_cut_off():
    assert Box(-10, -10, 700, 100).within(*PICTURE) == Box(0, 0, 640, 110)


@pytest.mark.parametrize("aspect", [1, 1.22])
def test_a_crop_puts_the_face_where_the_geometry_says(aspect):
    geometry = Geometry(aspect=aspect, face_x=0.48, face_y=0.55, face_width=0.6)
    face = Box(200, 150, 300, 250)
    crop = geometry.crop_around(face)
    assert crop.height == pytest.approx(aspect * crop.width)
    x, y = face.centre
    assert (x - crop.left) / crop.width == pytest.approx(0.48)
    assert (y - crop.top) / crop.height == pytest.approx(0.55)
    assert face.width / crop.width == pytest.approx(0.6)
