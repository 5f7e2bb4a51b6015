"""The 68 landmarks of a face (iBUG order), and four expressions measured by them.

Points are (x, y) in any unit that is the same along both axes; shapes use B faces.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NUM_LANDMARKS = 68

PARTS = {
    "jaw": range(17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}

# The landmark that takes the place of each one in the mirrored picture
MIRRORED = (
    *reversed(range(17)),  # jaw
    *reversed(range(17, 27)),  # brows
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # bridge and wings of the nose
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
    *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
)

Group = tuple[int, ...]  # landmarks in a row, whose mean is one point

OUTER_CORNERS: tuple[Group, Group] = ((36,), (45,))  # of the eyes
UPPER_LIDS: tuple[Group, Group] = ((37, 38), (43, 44))
LOWER_LIDS: tuple[Group, Group] = ((40, 41), (46, 47))
BROWS: tuple[Group, Group] = ((19,), (24,))

# Pairs of landmarks whose distance tells how far something is open, raised or wide
OPENINGS = (
    *((61, 67), (62, 66), (63, 65)),  # inner lips
    *((51, 57), (50, 58), (52, 56)),  # outer lips
    *((37, 41), (38, 40), (43, 47), (44, 46)),  # lids
    *((19, 37), (20, 38), (24, 44), (23, 43)),  # brows over lids
    *((48, 54), (60, 64)),  # corners of the mouth
)


class Expressions(NamedTuple):
    """The expressions of faces, independent of their size and rotation in the picture, (B,) each.

    In units of the distance between the outer corners of the eyes.
    """

    mouth: Tensor  # opening between the inner lips
    width: Tensor  # of the mouth, from corner to corner
    eyes: Tensor  # opening between the lids, the mean of both eyes
    brows: Tensor  # height over the upper lids, the mean of both


# Each expression is the mean of distances between the means of two groups of landmarks
DISTANCES: dict[str, list[tuple[Group, Group]]] = {
    "mouth": [((62,), (66,))],
    "width": [((48,), (54,))],
    "eyes": [*zip(UPPER_LIDS, LOWER_LIDS, strict=True)],
    "brows": [*zip(BROWS, UPPER_LIDS, strict=True)],
}


def measure_expressions(landmarks: Tensor) -> Expressions:
    """Measure the expressions of faces from their landmarks (B, 68, 2)."""
    unit = eye_distance(landmarks)
    distances = {name: mean_distance(landmarks, pairs) for name, pairs in DISTANCES.items()}
    return Expressions(**{name: distance / unit for name, distance in distances.items()})


def eye_distance(landmarks: Tensor) -> Tensor:
    """Measure the distance between the outer corners of the eyes of (B, 68, 2): (B,)."""
    return mean_distance(landmarks, [OUTER_CORNERS])


def mean_distance(landmarks: Tensor, between: Sequence[tuple[Group, Group]]) -> Tensor:
    """Average the distances between pairs of groups of landmarks (B, 68, 2): (B,)."""
    distances = [
        (mean_of(landmarks, one) - mean_of(landmarks, other)).norm(dim=-1) for one, other in between
    ]
    return torch.stack(distances).mean(dim=0)


def mean_of(landmarks: Tensor, group: Group) -> Tensor:
    """Average the landmarks of a group, of (B, 68, 2): (B, 2)."""
    return landmarks[:, group[0] : group[-1] + 1].mean(dim=1)
