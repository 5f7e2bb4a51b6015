"""Heads move as driving heads do, faces express what driving faces do, and stay faces."""

import pytest
import torch
from torch import Tensor

from animation.head_motion import RIGID, HeadMotion, face_centre, face_unit, fit_head
from animation.landmark_motion import (
    LIDS,
    LIP_THICKNESS,
    LIPS,
    MAX_BROWS,
    MAX_EXPRESSION,
    USUAL_EYES,
    downwards,
    exaggerate,
    expression_of,
    landmark_gains,
    move_landmarks,
    openings,
)
from modules.face_landmarks import NUM_LANDMARKS, PARTS, measure_expressions
from tests.drawn_landmarks import drawn_face, similarity, turned_head
from tests.tiny import normal

ALL = torch.ones(NUM_LANDMARKS).double()
SOURCE = similarity(drawn_face(eyes=0.08, wide=0.04), 0.5, -0.2, 0.1, -0.1)
NEUTRAL = similarity(drawn_face(), 0.4, 0.1, -0.2, 0.05)


def moved(
    driving: Tensor,
    *,
    source: Tensor = SOURCE,
    neutral: Tensor = NEUTRAL,
    initial: Tensor | None = None,
    scale: float = 1.25,
    head: float = 1.0,
    expression: Tensor = ALL,
) -> Tensor:
    start = neutral if initial is None else initial
    return move_landmarks(
        source, driving, start, neutral, scale=scale, head=head, expression=expression
    )


def only(*parts: str) -> Tensor:
    strength = torch.zeros(NUM_LANDMARKS).double()
    for part in parts:
        strength[list(PARTS[part])] = 1
    return strength


def expression(driving: Tensor, neutral: Tensor = NEUTRAL) -> Tensor:
    return expression_of(driving, neutral, fit_head(neutral, driving))


def posed(face: Tensor) -> Tensor:
    """A drawn face posed as ``NEUTRAL`` is."""
    return similarity(face, 0.4, 0.1, -0.2, 0.05)


# Heads


def test_the_neutral_face_gives_the_source_back():
    torch.testing.assert_close(moved(NEUTRAL), SOURCE, rtol=0, atol=1e-9)


@pytest.mark.parametrize("head", [0.0, 1.0, 2.0])
def test_a_head_that_moves_in_the_plane_moves_the_source_so_and_expresses_nothing(head):
    driving = similarity(NEUTRAL, 1.2, 0.15, 0.1, -0.05)
    torch.testing.assert_close(
        expression(driving), torch.zeros(1, 68, 2).double(), rtol=0, atol=1e-5
    )
    found = moved(driving, head=head)
    own, start, end = (face[:, RIGID].mean(dim=1) for face in (SOURCE, NEUTRAL, driving))
    about = similarity(SOURCE - own, 1.2**head, 0.15 * head, 0, 0)
    expected = about + own + head * 1.25 * (end - start)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_driving_face_that_is_the_source_is_followed_exactly():
    driving = similarity(turned_head(drawn_face(0.3, 0.05, 0.1), 0.8), 0.6, 0.3, 0.2, 0.1)
    neutral = drawn_face()
    found = moved(driving, source=neutral, neutral=neutral, scale=1)
    torch.testing.assert_close(found, driving, rtol=0, atol=1e-5)


def test_a_turning_head_is_head_motion():
    turned = turned_head(drawn_face(), 0.75)
    found = expression(turned, drawn_face())
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)


def test_a_head_that_turns_about_its_axis_is_head_motion_too():
    """Parts that stand out are displaced by one vector, the outline in the opposite direction."""
    narrow = torch.tensor([[[0.9, 0], [0, 1]]]).double()
    motion = HeadMotion(narrow, torch.tensor([[[0.15, 0.02]]]).double())
    centre, unit = face_centre(NEUTRAL), face_unit(NEUTRAL)
    driving = motion(NEUTRAL - centre, unit) + centre
    found = expression(driving)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-5)
    own, size = face_centre(SOURCE), face_unit(SOURCE)
    torch.testing.assert_close(moved(driving), motion(SOURCE - own, size) + own, rtol=0, atol=1e-5)


def test_a_batch_moves_as_its_frames_do_one_by_one():
    driving = NEUTRAL + 0.05 * normal(5, 68, 2)
    together = moved(driving)
    for frame, found in zip(driving, together, strict=True):
        torch.testing.assert_close(moved(frame[None])[0], found)


def test_head_motion_is_relative_to_another_frame_than_expressions_are():
    first = similarity(posed(drawn_face(mouth=0.3)), 1, 0.2, 0.1, 0)
    still = moved(first, initial=first)
    torch.testing.assert_close(still, moved(posed(drawn_face(mouth=0.3))), rtol=0, atol=1e-5)


# Bounds


@pytest.mark.parametrize("narrow", [0.2, 5.0])
def test_a_face_that_turns_into_profile_or_out_of_it_does_not_distort_the_source(narrow):
    """A driving video may begin in profile; no motion is taken for an expression."""
    found = moved(turned_head(NEUTRAL, narrow))
    width, source_width = (face[0, 16].sub(face[0, 0]).norm() for face in (found, SOURCE))
    assert 1 / 2.5 < width / source_width < 2.5
    assert expression(turned_head(NEUTRAL, narrow)).norm(dim=-1).max() < 1e-4


def test_a_landmark_that_flies_off_moves_no_farther_than_a_wide_open_mouth():
    driving = NEUTRAL.clone()
    driving[:, 8] += 5  # the chin
    length = expression(driving).norm(dim=-1)[0]
    assert length[8].item() == pytest.approx(MAX_EXPRESSION)
    assert length.sum().item() == pytest.approx(MAX_EXPRESSION, abs=1e-5)


@pytest.mark.parametrize("face", [torch.zeros(1, 68, 2), torch.ones(1, 68, 1) * torch.rand(2)])
def test_landmarks_on_one_spot_are_no_face_but_do_no_harm(face):
    for arguments in ({"driving": face}, {"driving": NEUTRAL, "neutral": face.double()}):
        assert moved(**arguments).isfinite().all()
    assert moved(NEUTRAL, source=face.double()).isfinite().all()


# Expressions


@pytest.mark.parametrize("opening", [0.1, 0.4])
def test_the_mouth_opens_as_far_as_the_driving_mouth_in_eye_distances(opening):
    found = measure_expressions(moved(posed(drawn_face(mouth=opening))))
    assert found.mouth.item() == pytest.approx(opening, abs=1e-5)
    assert found.eyes.item() == pytest.approx(0.08, abs=1e-5)


@pytest.mark.parametrize(("eyes", "expected"), [(0.045, 0.04), (0.0, 0.0), (0.108, 0.096)])
def test_lids_open_in_proportion_to_the_neutral_opening(eyes, expected):
    found = measure_expressions(moved(posed(drawn_face(eyes=eyes))))
    assert found.eyes.item() == pytest.approx(expected, abs=1e-5)
    assert found.mouth.item() == pytest.approx(0, abs=1e-5)


def test_expressions_are_turned_with_the_source():
    """The corners of the mouth move along the source's line of the eyes, not the picture's."""
    change = moved(posed(drawn_face(wide=0.1))) - SOURCE
    eyes = SOURCE[0, 45] - SOURCE[0, 36]
    torch.testing.assert_close(change[0, 54], 0.1 * eyes, rtol=0, atol=1e-5)


def test_an_open_mouth_of_the_source_is_closed_by_a_closed_driving_mouth():
    source = drawn_face(mouth=0.3)
    found = moved(NEUTRAL, source=source)
    assert measure_expressions(found).mouth.item() == pytest.approx(0, abs=1e-6)
    lips, before = (
        openings(face, LIP_THICKNESS, downwards(face, LIP_THICKNESS)) for face in (found, source)
    )
    torch.testing.assert_close(lips[:, 1:4], before[:, 1:4])  # none thicker or thinner
    assert (found - source)[0, 8, 1].item() == pytest.approx(-0.3 * 0.75)  # the chin follows
    half_open = moved(posed(drawn_face(mouth=0.1)), source=source)
    assert measure_expressions(half_open).mouth.item() == pytest.approx(0.1, abs=1e-5)


def test_closed_eyes_of_the_source_are_opened_as_usual_eyes_are():
    source = drawn_face(eyes=0.02)
    found = measure_expressions(moved(NEUTRAL, source=source))
    assert found.eyes.item() == pytest.approx(USUAL_EYES, abs=1e-6)
    shut = measure_expressions(moved(posed(drawn_face(eyes=0.0)), source=source))
    assert shut.eyes.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("mouth", [0.0, 0.3])
def test_a_start_with_an_open_mouth_does_not_keep_the_mouth_open_or_shut(mouth):
    """Openings do not depend on which driving face expressions are relative to."""
    start = posed(drawn_face(mouth=0.3))
    found = moved(posed(drawn_face(mouth=mouth)), neutral=start)
    assert measure_expressions(found).mouth.item() == pytest.approx(mouth, abs=1e-5)


@pytest.mark.parametrize(("strength", "mouth", "eyes"), [(0, 0, 0.08), (1, 0.2, 0.04), (2, 0.4, 0)])
def test_strengths_of_the_expression(strength, mouth, eyes):
    driving = posed(drawn_face(mouth=0.2, eyes=0.045))
    found = measure_expressions(moved(driving, expression=strength * ALL))
    assert found.mouth.item() == pytest.approx(mouth, abs=1e-5)
    assert found.eyes.item() == pytest.approx(eyes, abs=1e-5)


def test_without_expression_the_source_keeps_its_own():
    source = drawn_face(mouth=0.2, eyes=0.02, wide=0.1)
    driving = posed(drawn_face(mouth=0.4, eyes=0.05))
    torch.testing.assert_close(
        moved(driving, source=source, expression=0 * ALL), source, rtol=0, atol=1e-5
    )


def test_only_the_parts_named_express():
    driving = posed(drawn_face(mouth=0.3, eyes=0.0, wide=0.1))
    everything = moved(driving)
    for parts in (["mouth"], ["eyes"], ["jaw"], ["eyes", "mouth"]):
        found = moved(driving, expression=only(*parts))
        chosen = only(*parts) > 0
        torch.testing.assert_close(found[:, chosen], everything[:, chosen])
        torch.testing.assert_close(found[:, ~chosen], SOURCE[:, ~chosen], rtol=0, atol=1e-5)


@pytest.mark.parametrize("strength", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("size", [0.02, 0.3, 10.0])
def test_lids_and_lips_never_cross(strength, size):
    """Whatever drives, and whatever it is relative to."""
    driving = posed(drawn_face()) + size * normal(64, 68, 2)
    neutral = posed(drawn_face()) + size * normal(64, 68, 2, seed=1)
    for source in (SOURCE, similarity(drawn_face(mouth=0.4, eyes=0.01), 0.5, 0.3, 0, 0)):
        found = moved(driving, source=source, neutral=neutral, head=0, expression=strength * ALL)
        for gaps in (LIPS, LIDS, LIP_THICKNESS):
            assert openings(found, gaps, downwards(source, gaps)).min() > -1e-6


# Exaggeration

TWICE = torch.full((NUM_LANDMARKS, 2), 2.0).double()


def test_an_expression_is_exaggerated_by_the_gain_in_the_driving_pose():
    source, pose = drawn_face(eyes=0.08), (0.4, 0.3, -0.2, 0.05)
    driving = similarity(drawn_face(mouth=0.2, eyes=0.06, wide=0.04), *pose)
    gain = landmark_gains(mouth=1.5, width=1.25, eyes=2.0, brows=1.0).double()
    found = exaggerate(source, driving, gain)
    expected = similarity(drawn_face(mouth=0.3, eyes=0.04, wide=0.05), *pose)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_brows_are_exaggerated_up_and_down_alone(sign):
    gain = landmark_gains(mouth=1.0, width=1.0, eyes=1.0, brows=1.5).double()
    step = torch.zeros(1, NUM_LANDMARKS, 2).double()
    step[:, list(PARTS["brows"])] = sign * torch.tensor([0.015, -0.03]).double()
    pose = (0.5, 0.3, 0.1, 0)
    found = exaggerate(drawn_face(), similarity(drawn_face() + step, *pose), gain)
    step[..., 1] *= 1.5
    expected = similarity(drawn_face() + step, *pose)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mouth", "expected"), [(0.0, 0.0), (0.1, 0.0625), (0.2, 0.15), (0.6, 0.7)]
)
def test_an_open_mouth_of_the_source_is_shut_only_where_the_driving_mouth_is(mouth, expected):
    gain = landmark_gains(mouth=1.5, width=1.0, eyes=1.0, brows=1.0).double()
    found = exaggerate(drawn_face(mouth=0.4), drawn_face(mouth=mouth), gain)
    assert measure_expressions(found).mouth.item() == pytest.approx(expected, abs=1e-5)


def test_a_gain_of_one_changes_nothing_though_lips_cross():
    driving = NEUTRAL + 0.1 * normal(5, 68, 2)
    assert torch.equal(exaggerate(SOURCE, driving, TWICE / 2), driving)


def test_a_head_in_motion_is_not_exaggerated():
    driving = similarity(turned_head(SOURCE, 0.8), 1.2, 0.3, 0.1, 0)
    torch.testing.assert_close(exaggerate(SOURCE, driving, TWICE), driving, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [0.02, 0.3, 10.0])
def test_an_exaggeration_crosses_no_lids_and_no_lips(size):
    source = similarity(drawn_face(mouth=0.4), 0.5, 0.3, 0, 0) + size * normal(64, 68, 2, seed=1)
    for mouth, eyes in ((0.0, 0.0), (0.1, 0.02)):
        driving = posed(drawn_face(mouth=mouth, eyes=eyes))
        found = exaggerate(source, driving, TWICE)
        for gaps in (LIPS, LIDS, LIP_THICKNESS):
            assert openings(found, gaps, downwards(driving, gaps)).min() > -1e-6


@pytest.mark.parametrize(
    ("landmark", "distance", "expected"),
    [(8, 0.4, MAX_EXPRESSION), (8, 5.0, 5.0), (19, 0.03, MAX_BROWS), (19, -0.2, 0.2)],
)
def test_no_landmark_is_exaggerated_beyond_its_reach(landmark, distance, expected):
    driving = drawn_face()
    driving[:, landmark, 1] += distance
    pose = (0.5, 0.3, 0.1, 0)  # half as large
    found = exaggerate(drawn_face(), similarity(driving, *pose), TWICE)
    moved = (found - similarity(drawn_face(), *pose))[0, landmark].norm()
    assert moved.item() == pytest.approx(0.5 * expected, abs=1e-5)


def test_drawn_faces_are_as_they_say():
    face = measure_expressions(drawn_face(mouth=0.2, eyes=0.07, wide=0.05))
    assert face.mouth.item() == pytest.approx(0.2)
    assert face.eyes.item() == pytest.approx(0.07)
    assert face.width.item() == pytest.approx(0.7)
