import pytest

from datasets.preprocessing.crops import TRAINING, least_side, training_crop, usual_side
from media.pictures import Box

SIZE = (1280, 720)


def face(x: float, y: float, width: float = 110) -> Box:
    return Box(x - width / 2, y - width / 2, x + width / 2, y + width / 2)


def test_a_face_that_rests_lies_in_the_crop_as_in_training_clips():
    crop = training_crop([face(600, 300)] * 9, SIZE)
    assert crop.width == pytest.approx(crop.height)
    assert 110 / crop.width == pytest.approx(TRAINING.face_width)
    assert (600 - crop.left) / crop.width == pytest.approx(TRAINING.face_x)
    assert (300 - crop.top) / crop.height == pytest.approx(TRAINING.face_y)


def test_a_single_wrong_width_does_not_count():
    faces = [face(600, 300)] * 4 + [face(600, 300, 125)] * 2
    assert training_crop(faces, SIZE) == pytest.approx(training_crop(faces[:1], SIZE))


def test_the_crop_is_around_all_of_the_motion_and_grows_only_where_it_must():
    little = [face(600, 300), face(630, 300)]
    assert training_crop(little, SIZE).width == pytest.approx(usual_side(little))
    far = [face(500, 300), face(750, 300), face(740, 360)]
    crop = training_crop(far, SIZE)
    assert crop.width == pytest.approx(least_side(far)) == 360 + 0.3 * 110
    for box in far:
        assert crop.left < box.left
        assert crop.top < box.top
        assert crop.right > box.right
        assert crop.bottom > box.bottom


def test_at_the_border_it_is_shifted_and_then_made_smaller():
    usual = training_crop([face(640, 360)], SIZE)
    corner = training_crop([face(60, 690)], SIZE)
    assert corner.width == pytest.approx(usual.width)
    assert (corner.left, corner.bottom) == pytest.approx((0, 720))
    assert training_crop([face(640, 360, 600)], SIZE) == pytest.approx((280, 0, 1000, 720), abs=10)
