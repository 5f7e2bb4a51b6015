"""The motion of a head is found, taken farther, and bounded."""

import pytest
import torch
from torch import Tensor

from animation.head_motion import (
    MAX_DEVIATION,
    MAX_SCALE,
    MAX_TURN,
    RIGID,
    HeadMotion,
    bounded,
    bounded_head,
    depths,
    face_centre,
    face_unit,
    fit_head,
    from_polar,
    polar,
    strengthened,
)
from animation.landmark_motion import LIDS, LIP_THICKNESS, LIPS
from tests.drawn_landmarks import drawn_face
from tests.tiny import normal


def matrices(count: int = 200) -> Tensor:
    return torch.eye(2).double() + 0.3 * normal(count, 2, 2)


def test_the_motion_of_a_head_is_found():
    face = 0.4 * drawn_face(mouth=0.2)
    motion = HeadMotion(matrices(5), 0.2 * normal(5, 1, 2, seed=1))
    driving = motion(face - face_centre(face), face_unit(face)) + 0.1
    for found, expected in zip(fit_head(face, driving), motion, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("face", [torch.zeros(1, 68, 2), torch.ones(1, 68, 1) * torch.rand(2)])
def test_landmarks_on_one_spot_do_not_move(face):
    linear, turn = fit_head(face, face)
    torch.testing.assert_close(linear, torch.eye(2)[None], rtol=0, atol=1e-6)
    torch.testing.assert_close(turn, torch.zeros(1, 1, 2), rtol=0, atol=1e-6)


def test_a_turn_changes_no_opening_and_no_mean_of_the_rigid_points():
    depth = depths(torch.device("cpu"))[:, 0]
    assert depth[list(RIGID)].mean().item() == pytest.approx(0, abs=1e-6)
    for upper, lower, *_ in (LIPS, LIDS, LIP_THICKNESS):
        assert torch.equal(depth[list(upper)], depth[list(lower)])


def test_a_linear_map_comes_back_from_its_polar_form():
    torch.testing.assert_close(from_polar(*polar(matrices())), matrices())


def test_strengths_of_a_linear_map():
    maps = matrices()
    torch.testing.assert_close(strengthened(maps, 1), maps)
    torch.testing.assert_close(strengthened(maps, 0), torch.eye(2).double().expand_as(maps))
    small = bounded(matrices())
    half = torch.linalg.matrix_power(strengthened(from_polar(*stretchless(small)), 0.5), 2)
    torch.testing.assert_close(half, from_polar(*stretchless(small)))
    assert (torch.linalg.det(strengthened(small, 2)) > 0).all()


def stretchless(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    size, angle, stretch = polar(maps)
    return size, angle, torch.zeros_like(stretch)


def test_a_bounded_map_is_invertible_and_one_within_the_bounds_stays():
    wild = 5 * normal(500, 2, 2)
    size = torch.linalg.svdvals(bounded(wild))
    assert size.max() <= MAX_SCALE * (1 + MAX_DEVIATION) + 1e-9
    assert size.min() >= (1 - MAX_DEVIATION) / MAX_SCALE - 1e-9
    assert (torch.linalg.det(bounded(wild)) > 0).all()
    torch.testing.assert_close(bounded(bounded(wild)), bounded(wild))


def test_a_turn_is_taken_farther_within_its_bound():
    turn = torch.tensor([[[0.06, 0.0]], [[0.3, 0.4]]]).double()
    motion = HeadMotion(torch.eye(2).double().expand(2, 2, 2), turn)
    assert bounded_head(motion, 2.0).turn[0, 0].tolist() == pytest.approx([0.12, 0])
    assert bounded_head(motion, 0.0).turn.abs().max() == 0
    for strength in (1.0, 2.0):
        direction = bounded_head(motion, strength).turn[1, 0] / MAX_TURN
        assert direction.tolist() == pytest.approx([0.6, 0.8])
