from collections.abc import Iterable, Sequence

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
    Segment,
    clip_crop,
    find_segments,
    find_tracks,
    least_side,
    usual_side,
)
from media.pictures import Box

SIZE = (1280, 720)
TOO_SHORT, TOO_SMALL = "shorter than 2 s", "smaller than 128 px"


def face(x: float, y: float = 300, width: float = 110) -> Box:
    return Box(x - width / 2, y - width / 2, x + width / 2, y + width / 2)


def scene(*faces: Sequence[Box], start: int = 0) -> Scene:
    """A scene with these faces in its detections."""
    detections = tuple(
        Detection(start + SAMPLED_EVERY * i, tuple(seen)) for i, seen in enumerate(faces)
    )
    return Scene(start, start + SAMPLED_EVERY * len(faces), detections)


def kept(found: Iterable[Segment]) -> list[tuple[int, int]]:
    return [(segment.start, segment.end) for segment in found if segment.reason is None]


def reasons(found: Iterable[Segment]) -> list[str | None]:
    return [segment.reason for segment in found]


def test_one_face_gives_the_whole_scene():
    (segment,) = find_segments(scene(*[[face(600)]] * 12, start=90), SIZE, Limits())
    assert segment[:2] == (90, 150)
    assert segment.reason is None
    assert segment.crop == pytest.approx((498.9, 202.9, 698.9, 402.9), abs=0.2)


def test_a_trembling_face_is_one_track():
    rng = np.random.default_rng(0)
    faces = [[face(*rng.normal((600, 300), 12), rng.uniform(95, 125))] for _ in range(40)]
    assert kept(find_segments(scene(*faces), SIZE, Limits())) == [(0, 200)]


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


def test_a_box_within_a_face_is_no_second_face():
    faces = [[face(600), face(605, 320, 60)]] * 20
    assert kept(find_segments(scene(*faces), SIZE, Limits())) == [(0, 100)]


def test_two_faces_cheek_to_cheek_are_two():
    faces = [[face(600), face(690)]] * 20
    assert reasons(find_segments(scene(*faces), SIZE, Limits())) == [SECOND_FACE]


def test_two_lasting_faces_drop_the_scene():
    faces = [[face(400)]] * 8 + [[face(400), face(800, width=70)]] * 5 + [[face(400)]] * 8
    assert find_segments(scene(*faces, start=50), SIZE, Limits()) == [
        Segment(50, 155, None, SECOND_FACE)
    ]


def test_two_faces_that_are_found_in_turn_are_two():
    faces = [[face(400)], [face(800)]] * 10
    assert reasons(find_segments(scene(*faces), SIZE, Limits())) == [SECOND_FACE]


def test_small_faces_in_the_background_do_not_disturb():
    faces = [[face(400), face(800, width=50)]] * 20
    assert kept(find_segments(scene(*faces), SIZE, Limits())) == [(0, 100)]


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
    seen = [[face(600)]] * 12
    assert kept(find_segments(scene(*seen, *[[]] * (gap - 1), *seen), SIZE, Limits())) == [
        (0, 5 * (23 + gap))
    ]
    found = find_segments(scene(*seen, *[[]] * (gap + 1), *seen), SIZE, Limits())
    assert kept(found) == [(0, 56), (5 * (13 + gap), 5 * (25 + gap))]


def test_the_clip_reaches_to_a_cut_only_from_near_by():
    faces = [[]] * 4 + [[face(600)]] * 12 + [[]] * 4
    assert kept(find_segments(scene(*faces), SIZE, Limits())) == [(20, 76)]
    assert kept(find_segments(scene(*faces[3:-3]), SIZE, Limits())) == [(0, 70)]


def test_what_is_too_short_or_too_small_is_dropped_for_that():
    assert reasons(find_segments(scene(*[[face(600)]] * 9), SIZE, Limits())) == [TOO_SHORT]
    assert reasons(find_segments(scene(*[[]] * 5, *[[face(600)]] * 7), SIZE, Limits())) == [
        TOO_SHORT
    ]
    small = scene(*[[face(600, width=69)]] * 12)
    assert reasons(find_segments(small, SIZE, Limits())) == [TOO_SMALL]
    assert kept(find_segments(small, SIZE, Limits(min_size=120))) == [(0, 60)]
    assert reasons(find_segments(small, SIZE, Limits(min_seconds=3))) == ["shorter than 3 s"]


@pytest.mark.parametrize("faces", [[[]] * 30, [[face(600)]] * 3 + [[]] * 27])
def test_a_scene_without_a_lasting_face_has_none(faces):
    assert find_segments(scene(*faces), SIZE, Limits()) == [Segment(0, 150, None, NO_FACE)]


def test_long_segments_become_equal_parts():
    faces = [[face(600)]] * 210  # 42 s
    found = find_segments(scene(*faces, start=7), SIZE, Limits())
    assert kept(found) == [(7, 357), (357, 707), (707, 1057)]


def test_a_face_that_walks_is_cut_in_time_and_stays_in_its_crops():
    faces = [[face(200 + 4 * i)] for i in range(100)]
    found = find_segments(scene(*faces), SIZE, Limits())
    assert len(found) > 2
    assert [segment.start for segment in found] == [0, *(segment.end for segment in found[:-1])]
    assert found[-1].end == 500
    for segment in found:
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
