from collections.abc import Iterable, Sequence

import numpy as np
import pytest

from datasets.preprocessing.tracks import (
    MAX_MISSED,
    NO_FACE,
    SAMPLED_EVERY,
    SECOND_FACE,
    Detection,
    Limits,
    Scene,
    Segment,
    follow,
    segments,
)
from media.pictures import Box

SIZE = (1280, 720)
TOO_SHORT, TOO_SMALL = "shorter than 2 s", "smaller than 128 px"


def face(x: float, y: float = 300, width: float = 110) -> Box:
    return Box(x - width / 2, y - width / 2, x + width / 2, y + width / 2)


def scene(*faces: Sequence[Box], start: int = 0) -> Scene:
    """A scene with these faces in its looks."""
    looks = tuple(Detection(start + SAMPLED_EVERY * i, tuple(seen)) for i, seen in enumerate(faces))
    return Scene(start, start + SAMPLED_EVERY * len(faces), looks)


def kept(found: Iterable[Segment]) -> list[tuple[int, int]]:
    return [(take.start, take.end) for take in found if take.reason is None]


def reasons(found: Iterable[Segment]) -> list[str | None]:
    return [take.reason for take in found]


def test_one_face_gives_the_whole_scene():
    (take,) = segments(scene(*[[face(600)]] * 12, start=90), SIZE, Limits())
    assert take[:2] == (90, 150)
    assert take.reason is None
    assert take.crop == pytest.approx((498.9, 202.9, 698.9, 402.9), abs=0.2)


def test_a_trembling_face_is_one_track():
    rng = np.random.default_rng(0)
    faces = [[face(*rng.normal((600, 300), 12), rng.uniform(95, 125))] for _ in range(40)]
    assert kept(segments(scene(*faces), SIZE, Limits())) == [(0, 200)]


def test_missed_looks_and_false_boxes_that_come_and_go_change_nothing():
    usual = [[face(600)] for _ in range(30)]
    (expected,) = segments(scene(*usual), SIZE, Limits())
    for missed in (0, 7, 8, 9, 20, 29):
        usual[missed] = []
    usual[3] = [face(600), face(200)]
    usual[15] = [face(900, width=200), face(600)]
    usual[16] = [face(900, width=200), face(600)]
    usual[12] = [face(640, 340, 150)]  # off, but it overlaps
    assert segments(scene(*usual), SIZE, Limits()) == [expected]


def test_a_box_within_a_face_is_no_second_face():
    looks = [[face(600), face(605, 320, 60)]] * 20
    assert kept(segments(scene(*looks), SIZE, Limits())) == [(0, 100)]


def test_two_faces_cheek_to_cheek_are_two():
    looks = [[face(600), face(690)]] * 20
    assert reasons(segments(scene(*looks), SIZE, Limits())) == [SECOND_FACE]


def test_two_lasting_faces_drop_the_scene():
    looks = [[face(400)]] * 8 + [[face(400), face(800, width=70)]] * 5 + [[face(400)]] * 8
    assert segments(scene(*looks, start=50), SIZE, Limits()) == [
        Segment(50, 155, None, SECOND_FACE)
    ]


def test_two_faces_that_are_found_in_turn_are_two():
    looks = [[face(400)], [face(800)]] * 10
    assert reasons(segments(scene(*looks), SIZE, Limits())) == [SECOND_FACE]


def test_small_faces_in_the_background_do_not_disturb():
    looks = [[face(400), face(800, width=50)]] * 20
    assert kept(segments(scene(*looks), SIZE, Limits())) == [(0, 100)]


def test_one_after_the_other_they_are_two_clips():
    looks = [[face(400)]] * 12 + [[face(800)]] * 12
    (one, other) = segments(scene(*looks), SIZE, Limits())
    assert one[:2] == (0, 56)
    assert other[:2] == (60, 120)
    assert one.crop is not None
    assert other.crop is not None
    assert other.crop.left - one.crop.left == pytest.approx(400)


def test_a_face_is_given_up_when_it_is_not_seen_for_long():
    gap = MAX_MISSED // SAMPLED_EVERY
    seen = [[face(600)]] * 12
    assert kept(segments(scene(*seen, *[[]] * (gap - 1), *seen), SIZE, Limits())) == [
        (0, 5 * (23 + gap))
    ]
    found = segments(scene(*seen, *[[]] * (gap + 1), *seen), SIZE, Limits())
    assert kept(found) == [(0, 56), (5 * (13 + gap), 5 * (25 + gap))]


def test_the_clip_reaches_to_a_cut_only_from_near_by():
    looks = [[]] * 4 + [[face(600)]] * 12 + [[]] * 4
    assert kept(segments(scene(*looks), SIZE, Limits())) == [(20, 76)]
    assert kept(segments(scene(*looks[3:-3]), SIZE, Limits())) == [(0, 70)]


def test_what_is_too_short_or_too_small_is_dropped_for_that():
    assert reasons(segments(scene(*[[face(600)]] * 9), SIZE, Limits())) == [TOO_SHORT]
    assert reasons(segments(scene(*[[]] * 5, *[[face(600)]] * 7), SIZE, Limits())) == [TOO_SHORT]
    small = scene(*[[face(600, width=69)]] * 12)
    assert reasons(segments(small, SIZE, Limits())) == [TOO_SMALL]
    assert kept(segments(small, SIZE, Limits(min_size=120))) == [(0, 60)]
    assert reasons(segments(small, SIZE, Limits(min_seconds=3))) == ["shorter than 3 s"]


@pytest.mark.parametrize("looks", [[[]] * 30, [[face(600)]] * 3 + [[]] * 27])
def test_a_scene_without_a_lasting_face_has_none(looks):
    assert segments(scene(*looks), SIZE, Limits()) == [Segment(0, 150, None, NO_FACE)]


def test_long_takes_become_equal_parts():
    looks = [[face(600)]] * 210  # 42 s
    found = segments(scene(*looks, start=7), SIZE, Limits())
    assert kept(found) == [(7, 357), (357, 707), (707, 1057)]


def test_a_face_that_walks_is_cut_in_time_and_stays_in_its_crops():
    looks = [[face(200 + 4 * i)] for i in range(100)]
    found = segments(scene(*looks), SIZE, Limits())
    assert len(found) > 2
    assert [take.start for take in found] == [0, *(take.end for take in found[:-1])]
    assert found[-1].end == 500
    for take in found:
        assert take.crop is not None
        assert take.crop.width <= 1.41 * 200
        for number, ((box,),) in ((5 * i, (seen,)) for i, seen in enumerate(looks)):
            if take.start <= number < take.end:
                assert take.crop.left <= box.left
                assert box.right <= take.crop.right


def test_many_false_boxes_in_a_long_scene_are_followed_in_time():
    rng = np.random.default_rng(0)
    looks = [
        [face(600), *(face(*place, width=20) for place in rng.uniform(0, 700, (3, 2)))]
        for _ in range(1000)
    ]
    tracks = follow(scene(*looks).looks)
    assert max(len(track.looks) for track in tracks) == 1000
