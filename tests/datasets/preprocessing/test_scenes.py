from collections.abc import Iterable

import numpy as np
import pytest

from datasets.preprocessing.scenes import CutFinder
from datasets.synthetic.motion import draw_motion
from datasets.synthetic.person import draw_identity
from datasets.synthetic.render import render
from media.pictures import Picture


def cuts(frames: Iterable[Picture]) -> list[int]:
    finder = CutFinder()
    return [number for number, frame in enumerate(frames) if finder.begins_scene(frame)]


def plain(colour: tuple[int, int, int], num_frames: int) -> list[Picture]:
    return [np.full((40, 66, 3), colour, np.uint8)] * num_frames


def talking_head(seed: int, num_frames: int) -> list[Picture]:
    rng = np.random.default_rng(seed)
    identity = draw_identity(rng)
    return [render(identity, pose, 64) for pose in draw_motion(rng, num_frames, 25)]


def test_colours_of_equal_brightness_are_cut_where_they_change():
    assert cuts(plain((200, 0, 0), 3) + plain((0, 102, 0), 5) + plain((0, 0, 200), 1)) == [3, 8]


def test_a_video_of_one_scene_has_no_cut():
    assert cuts(plain((9, 90, 200), 40)) == []


@pytest.mark.parametrize("first", [1, 2, 3])
def test_heads_are_told_apart_and_their_motion_is_no_cut(first):
    heads = [talking_head(seed, num_frames) for seed, num_frames in ((first, 30), (7, 25), (8, 30))]
    assert cuts(frame for head in heads for frame in head) == [30, 55]


def test_fading_to_another_picture_is_no_cut():
    (one,), (other,) = talking_head(1, 1), talking_head(2, 1)
    frames = [(one * (1 - t) + other * t).astype(np.uint8) for t in np.linspace(0, 1, 25)]
    assert cuts(frames) == []


def test_each_video_has_a_finder_of_its_own():
    assert CutFinder().begins_scene(plain((0, 0, 0), 1)[0]) is False
    assert CutFinder().begins_scene(np.full((50, 50, 3), 255, np.uint8)) is False
