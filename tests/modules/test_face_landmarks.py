import math

import torch

from modules.face_landmarks import MIRRORED, NUM_LANDMARKS, PARTS, measure_expressions


def drawn_face() -> torch.Tensor:
    """A face (1, 68, 2) whose expressions are known: eyes 2 apart at their outer corners."""
    face = torch.zeros(1, NUM_LANDMARKS, 2)
    for i, x in ((36, -1.0), (45, 1.0)):
        face[0, i] = torch.tensor([x, 0.0])
    for i, x in ((37, -0.8), (38, -0.6), (43, 0.6), (44, 0.8)):
        face[0, i] = torch.tensor([x, -0.1])
    for i, x in ((41, -0.8), (40, -0.6), (47, 0.6), (46, 0.8)):
        face[0, i] = torch.tensor([x, 0.1])
    for i, x in ((19, -0.7), (24, 0.7)):
        face[0, i] = torch.tensor([x, -0.5])
    face[0, 48], face[0, 54] = torch.tensor([-0.5, 1.0]), torch.tensor([0.5, 1.0])
    face[0, 62], face[0, 66] = torch.tensor([0.0, 0.8]), torch.tensor([0.0, 1.2])
    return face


def test_every_landmark_belongs_to_one_part():
    assert sorted(i for part in PARTS.values() for i in part) == list(range(NUM_LANDMARKS))


def test_mirroring_twice_names_the_same_landmark():
    assert sorted(MIRRORED) == list(range(NUM_LANDMARKS))
    assert [MIRRORED[i] for i in MIRRORED] == list(range(NUM_LANDMARKS))
    assert (MIRRORED[36], MIRRORED[48], MIRRORED[60], MIRRORED[0], MIRRORED[17]) == (
        *(45, 54, 64, 16, 26),
    )


def test_expressions_are_measured_in_distances_of_the_eyes():
    found = measure_expressions(drawn_face())
    expected = {"mouth": 0.2, "width": 0.5, "eyes": 0.1, "brows": 0.2}
    for name, value in expected.items():
        torch.testing.assert_close(getattr(found, name), torch.tensor([value]), msg=name)


def test_expressions_do_not_see_size_place_or_rotation():
    face, angle = drawn_face(), math.radians(25)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = 0.3 * face @ turn.T + torch.tensor([0.2, -0.4])
    for one, other in zip(measure_expressions(face), measure_expressions(moved), strict=True):
        torch.testing.assert_close(one, other)
