"""A camera drives a source, frame by frame."""

import numpy as np
import pytest

import animation.live
from animation.animator import Animator
from animation.cropper import CropPolicy, fit_source
from animation.live import EVERY, LOST_AFTER, STILL_FOR, FaceFollower, LiveAnimation
from animation.motion_transfer import MotionStrength
from faces.crop import FaceCropConfig
from media.pictures import Box
from tests.animating import MOVING, SIZE, moving_square
from tests.tiny import TINY_LANDMARKS, tiny_model
from utils.errors import InputError

POLICY = CropPolicy(
    FaceCropConfig(aspect=1.0, face_x=0.5, face_y=0.5, face_width=0.5), always=False
)
PICTURE = np.zeros((100, 100, 3), np.uint8)
FACE = Box(40, 40, 60, 60)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator(tiny_model(MOVING), (SIZE, SIZE), device="cpu", precision="fp32")


def live_of(animator: Animator, **options) -> LiveAnimation:
    (source,) = moving_square(1, seed=3)
    return LiveAnimation(animator, fit_source(animator, source), **options)


def test_frames_are_those_of_an_animation_of_all_of_them(animator):
    frames = list(moving_square(6))
    (source,) = moving_square(1, seed=3)
    live = live_of(animator)
    alone = [live.animate(live.crop(frame), 0.04 * number) for number, frame in enumerate(frames)]
    together = list(animator.animate(source, frames, batch_size=1))
    np.testing.assert_array_equal(alone, together)


def test_after_set_neutral_the_next_pose_is_that_of_the_source(animator):
    first, *_, last = moving_square(6)
    live = live_of(animator)
    at_rest = live.animate(live.crop(first), 0)
    assert not np.array_equal(live.animate(live.crop(last), 0), at_rest)
    live.set_neutral()
    assert np.abs(live.animate(live.crop(last), 0).astype(int) - at_rest).max() <= 1


def test_without_strength_the_head_stays_and_the_strength_may_change(animator):
    first, *_, last = moving_square(6)
    live = live_of(animator, strength=MotionStrength(head=0.0))
    at_rest = live.animate(live.crop(first), 0)
    assert np.abs(live.animate(live.crop(last), 0).astype(int) - at_rest).max() <= 1
    live.strength = MotionStrength(head=1.0)
    assert np.abs(live.animate(live.crop(last), 0).astype(int) - at_rest).max() > 1
    with pytest.raises(InputError, match="need a network that finds facial landmarks"):
        live.strength = MotionStrength(expression=2.0)


def test_expressions_have_a_strength_where_there_are_landmarks():
    network = Animator(tiny_model(TINY_LANDMARKS), (SIZE, SIZE), device="cpu", precision="fp32")
    live = live_of(network, strength=MotionStrength(expression=1.5))
    first, last = moving_square(2)
    for frame in (first, last):
        assert live.animate(live.crop(frame), 0).shape == (SIZE, SIZE, 3)
    live.set_neutral()
    assert live.animate(live.crop(last), 0).shape == (SIZE, SIZE, 3)


def test_a_face_is_still_after_a_second_without_motion(animator):
    first, *_, last = moving_square(20)
    live = live_of(animator)
    for number in range(6):
        live.animate(live.crop(first), 0.1 * number)
    assert not live.is_still  # not long enough
    live.animate(live.crop(first), STILL_FOR + 0.1)
    assert live.is_still
    live.animate(live.crop(last), STILL_FOR + 0.2)
    assert not live.is_still
    for number in range(3):
        live.animate(live.crop(last), 10.0 + number)
    assert live.is_still
    live.set_neutral()
    assert not live.is_still


class Faces:
    """Searches whose results a test decides; ``main_face`` is counted."""

    def __init__(self, monkeypatch) -> None:
        self.place: Box | None = None
        self.num_searches = 0
        monkeypatch.setattr(animation.live, "main_face", self.search)
        monkeypatch.setattr(animation.live, "seen_again", lambda picture, place: self.place)

    def search(self, picture, *, large_only):
        self.num_searches += 1
        return self.place


@pytest.fixture
def faces(monkeypatch) -> Faces:
    return Faces(monkeypatch)


def test_there_is_no_frame_before_a_face_is_found(faces):
    follower = FaceFollower(POLICY, (SIZE, SIZE))
    follower.look(PICTURE, 0)
    assert follower.frame(PICTURE) is None
    faces.place = FACE
    follower.look(PICTURE, EVERY / 2)  # too soon
    assert follower.frame(PICTURE) is None
    follower.look(PICTURE, EVERY)
    assert follower.frame(PICTURE).shape == (SIZE, SIZE, 3)


def test_the_crop_stays_while_the_face_is_near_and_follows_it_away(faces):
    follower, now = FaceFollower(POLICY, (SIZE, SIZE)), 0.0
    faces.place = FACE
    follower.look(PICTURE, now)
    crop = follower.crop
    for shift in (3, -3, 5):
        faces.place, now = FACE.shifted(shift, 0), now + 2 * EVERY
        follower.look(PICTURE, now)
        assert follower.crop == crop
    assert faces.num_searches == 1
    faces.place, now = FACE.shifted(30, 0), now + 2 * EVERY
    follower.look(PICTURE, now)
    assert follower.crop.box == crop.box.shifted(30, 0)


def test_a_face_is_lost_after_some_time_and_found_again_with_its_crop(faces):
    follower = FaceFollower(POLICY, (SIZE, SIZE))
    faces.place = FACE
    follower.look(PICTURE, 0)
    crop, faces.place = follower.crop, None
    follower.look(PICTURE, LOST_AFTER / 2)
    assert follower.crop == crop  # the cascade misses faces
    follower.look(PICTURE, LOST_AFTER + EVERY)
    assert follower.frame(PICTURE) is None
    faces.place = FACE.shifted(2, 0)
    follower.look(PICTURE, LOST_AFTER + 3 * EVERY)
    assert follower.crop == crop


def test_a_camera_that_changes_its_size_is_searched_anew(faces):
    follower = FaceFollower(POLICY, (SIZE, SIZE))
    faces.place = FACE
    follower.look(PICTURE, 0)
    faces.place = Box(10, 10, 20, 20)
    follower.look(PICTURE[:50, :50], EVERY)
    assert follower.crop.box.centre == (15, 15)
