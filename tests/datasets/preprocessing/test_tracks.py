from collections.abc import Sequence

import numpy as np
import pytest

from datasets.preprocessing.tracks import (
    MAX_MISSED,
    NO_FACE,
    SAMPLED_EVERY,
    SECOND_FACE,
    USUAL,
    Detection,
    Limits,
    Scene,
    clip_crop,
    find_segments,
    find_tracks,
    least_side,
    usual_side,
)
from media.pictures import Box

SIZE = (1280, 720)


def face(x: float, y: float = 300, width: float = 110) -> Box:
    return Box(x - width / 2, y - width / 2, x + width / 2, y + width / 2)


def scene(*faces: Sequence[Box], start: int = 0) -> Scene:
    """A scene with these faces in its detections."""
    detections = tuple(
        Detection(start + SAMPLED_EVERY * i, tuple(seen)) for i, seen in enumerate(faces)
    )
    return Scene(start, start + SAMPLED_EVERY * len(faces), detections)


def found(*faces: Sequence[Box], start: int = 0, **limits: int) -> list[object]:
    """The segments of a scene, or the reasons why they are dropped."""
    segments = find_segments(scene(*faces, start=start), SIZE, Limits(**limits))
    return [one.reason or (one.start, one.end) for one in segments]


def trembling(num: int) -> list[list[Box]]:
    rng = np.random.default_rng(0)
    return [[face(*rng.normal((600, 300), 12), rng.uniform(95, 125))] for _ in range(num)]


ONE, TWO = [face(400)], [face(400), face(800, width=70)]
SCENES = {
    "a trembling face": (trembling(40), {}, [(0, 200)]),
    "a box within a face": ([[face(600), face(605, 320, 60)]] * 20, {}, [(0, 100)]),
    "small faces in the background": ([[face(400), face(800, width=50)]] * 20, {}, [(0, 100)]),
    "42 s, in equal parts": ([ONE] * 210, {"start": 7}, [(7, 357), (357, 707), (707, 1057)]),
    "seen long after and before cuts": ([[]] * 4 + [ONE] * 12 + [[]] * 4, {}, [(20, 76)]),
    "seen soon after and before cuts": ([[]] + [ONE] * 12 + [[]], {}, [(0, 70)]),
    "two cheek to cheek": ([[face(600), face(690)]] * 20, {}, [SECOND_FACE]),
    "two for a while": ([ONE] * 8 + [TWO] * 5 + [ONE] * 8, {"start": 50}, [SECOND_FACE]),
    "two, found in turn": ([ONE, [face(800)]] * 10, {}, [SECOND_FACE]),
    "no face": ([[]] * 30, {}, [NO_FACE]),
    "a face for a moment": ([ONE] * 3 + [[]] * 27, {}, [NO_FACE]),
    "a short scene": ([ONE] * 9, {}, ["shorter than 2 s"]),
    "a short track": ([[]] * 5 + [ONE] * 7, {}, ["shorter than 2 s"]),
    "shorter than asked for": ([ONE] * 12, {"min_seconds": 3}, ["shorter than 3 s"]),
    "too small": ([[face(600, width=69)]] * 12, {}, ["smaller than 128 px"]),
    "large enough": ([[face(600, width=69)]] * 12, {"min_size": 120}, [(0, 60)]),
}


@pytest.mark.parametrize(("faces", "options", "expected"), SCENES.values(), ids=SCENES)
def test_a_scene_gives_segments_or_the_reason_for_none(faces, options, expected):
    assert found(*faces, **options) == expected


def test_one_face_gives_the_whole_scene():
    (segment,) = find_segments(scene(*[[face(600)]] * 12, start=90), SIZE, Limits())
    assert segment[:2] == (90, 150)
    assert segment.reason is None
    assert segment.crop == pytest.approx((498.9, 202.9, 698.9, 402.9), abs=0.2)


def test_missed_detections_and_false_boxes_that_come_and_go_change_nothing():
    usual = [[face(600)] for _ in range(30)]
    (expected,) = find_segments(scene(*usual), SIZE, Limits())
    for missed in (0, 7, 8, 9, 20, 29):
        usual[missed] = []
    usual[3] = [face(600), face(200)]
    usual[15] = [face(900, width=200), face(600)]
    usual[16] = [face(900, width=200), face(600)]
    usual[12] = [face(640, 340, 150)]  # off, but it overlaps
    assert find_segments(scene(*usual), SIZE, Limits()) == [expected]


def test_one_after_the_other_they_are_two_clips():
    faces = [[face(400)]] * 12 + [[face(800)]] * 12
    (one, other) = find_segments(scene(*faces), SIZE, Limits())
    assert one[:2] == (0, 56)
    assert other[:2] == (60, 120)
    assert one.crop is not None
    assert other.crop is not None
    assert other.crop.left - one.crop.left == pytest.approx(400)


def test_a_face_is_given_up_when_it_is_not_seen_for_long():
    gap = MAX_MISSED // SAMPLED_EVERY
    assert found(*[ONE] * 12, *[[]] * (gap - 1), *[ONE] * 12) == [(0, 5 * (23 + gap))]
    parts = [(0, 56), (5 * (13 + gap), 5 * (25 + gap))]
    assert found(*[ONE] * 12, *[[]] * (gap + 1), *[ONE] * 12) == parts


def test_a_face_that_walks_is_cut_in_time_and_stays_in_its_crops():
    faces = [[face(200 + 4 * i)] for i in range(100)]
    segments = find_segments(scene(*faces), SIZE, Limits())
    assert len(segments) > 2
    assert [one.start for one in segments] == [0, *(one.end for one in segments[:-1])]
    assert segments[-1].end == 500
    for segment in segments:
        assert segment.crop is not None
        assert segment.crop.width <= 1.41 * 200
        for number, ((box,),) in ((5 * i, (seen,)) for i, seen in enumerate(faces)):
            if segment.start <= number < segment.end:
                assert segment.crop.left <= box.left
                assert box.right <= segment.crop.right


def test_many_false_boxes_in_a_long_scene_are_followed_in_time():
    rng = np.random.default_rng(0)
    faces = [
        [face(600), *(face(*place, width=20) for place in rng.uniform(0, 700, (3, 2)))]
        for _ in range(1000)
    ]
    tracks = find_tracks(scene(*faces).detections)
    assert max(len(track.sightings) for track in tracks) == 1000


def test_a_face_that_rests_lies_in_the_crop_as_in_training_clips():
    crop = clip_crop([face(600, 300)] * 9, SIZE)
    assert crop.width == pytest.approx(crop.height)
    assert 110 / crop.width == pytest.approx(USUAL.face_width)
    assert (600 - crop.left) / crop.width == pytest.approx(USUAL.face_x)
    assert (300 - crop.top) / crop.height == pytest.approx(USUAL.face_y)


def test_a_single_wrong_width_does_not_count():
    faces = [face(600, 300)] * 4 + [face(600, 300, 125)] * 2
    assert clip_crop(faces, SIZE) == pytest.approx(clip_crop(faces[:1], SIZE))


def test_the_crop_is_around_all_of_the_motion_and_grows_only_where_it_must():
    little = [face(600, 300), face(630, 300)]
    assert clip_crop(little, SIZE).width == pytest.approx(usual_side(little))
    far = [face(500, 300), face(750, 300), face(740, 360)]
    crop = clip_crop(far, SIZE)
    assert crop.width == pytest.approx(least_side(far)) == 360 + 0.3 * 110
    for box in far:
        assert crop.left < box.left
        assert crop.top < box.top
        assert crop.right > box.right
        assert crop.bottom > box.bottom


def test_at_the_border_it_is_shifted_and_then_made_smaller():
    usual = clip_crop([face(640, 360)], SIZE)
    corner = clip_crop([face(60, 690)], SIZE)
    assert corner.width == pytest.approx(usual.width)
    assert (corner.left, corner.bottom) == pytest.approx((0, 720))
    assert clip_crop([face(640, 360, 600)], SIZE) == pytest.approx((280, 0, 1000, 720), abs=10)
