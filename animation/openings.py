"""Openings between lids and lips: how they are measured, and how a face is given others.

Landmarks are (B, 68, 2), (x, y) in a unit that is the same along both axes, y downwards.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from modules.face_landmarks import NUM_LANDMARKS

Shares = tuple[tuple[int, float], ...]  # landmarks, and what they move


class Gaps(NamedTuple):
    """Pairs of landmarks, of which one stays above the other, and how a gap is opened."""

    upper: tuple[int, ...]  # P landmarks
    lower: tuple[int, ...]
    corners: tuple[tuple[int, int], ...]  # left and right: "above" is at right angles to their line
    shares: tuple[Shares, ...]  # how far landmarks move downwards as a gap grows by 1


# What the mouth takes along as it opens by 1, by regression on videos of 13 people.
CHIN = dict(enumerate((0.15, 0.2, 0.3, 0.4, 0.45, 0.55, 0.7, 0.75), start=1))
CHIN |= {16 - i: share for i, share in CHIN.items()}
MOUTH_CORNERS = dict.fromkeys((48, 54, 60, 64), 0.3)
TAKEN_ALONG = tuple((i, share / 3) for i, share in (CHIN | MOUTH_CORNERS).items())  # of 3 gaps

LIPS = Gaps(
    upper=(61, 62, 63),
    lower=(67, 66, 65),
    corners=((48, 54),) * 3,
    shares=(
        ((67, 1), (58, 1), (59, 0.9), *TAKEN_ALONG),
        ((66, 1), (57, 1), *TAKEN_ALONG),
        ((65, 1), (56, 1), (55, 0.9), *TAKEN_ALONG),
    ),
)
LIDS = Gaps(
    upper=(37, 38, 43, 44),
    lower=(41, 40, 47, 46),
    corners=((36, 39), (36, 39), (42, 45), (42, 45)),
    shares=(((37, -1),), ((38, -1),), ((43, -1),), ((44, -1),)),  # upper lids do the moving
)
LIP_THICKNESS = Gaps(
    upper=(49, 50, 51, 52, 53, 67, 66, 65),
    lower=(59, 61, 62, 63, 55, 58, 57, 56),
    corners=((48, 54),) * 8,
    shares=(
        ((59, 1),),
        *(((50, -1),), ((51, -1),), ((52, -1),)),
        ((55, 1),),
        *(((58, 1),), ((57, 1),), ((56, 1),)),
    ),
)


def downwards(face: Tensor, gaps: Gaps) -> Tensor:
    """The unit vectors at right angles to the lines of a face's corners: (B, P, 2)."""
    left, right = zip(*gaps.corners, strict=True)
    x, y = unit_vector(between(face, left, right)).unbind(-1)
    return torch.stack([-y, x], dim=-1)


def openings(landmarks: Tensor, gaps: Gaps, down: Tensor) -> Tensor:
    """How far each lower landmark is below its upper one, negative where they cross: (B, P).

    ``down`` is that of the face at rest: corners that move far do not change what is below.
    """
    return (between(landmarks, gaps.upper, gaps.lower) * down).sum(dim=-1)


def between(landmarks: Tensor, start: tuple[int, ...], end: tuple[int, ...]) -> Tensor:
    """The vectors from some landmarks to others: (B, P, 2)."""
    ends = (landmarks.index_select(1, indices(each, landmarks.device)) for each in (end, start))
    return torch.sub(*ends)


def set_openings(
    landmarks: Tensor, gaps: Gaps, wanted: Tensor, down: Tensor, movable: Tensor
) -> Tensor:
    """Move the landmarks that are ``movable``, (68,), so that gaps are as ``wanted``, (B, P)."""
    growth = wanted - openings(landmarks, gaps, down)
    shares = share_matrix(gaps, landmarks.device).to(landmarks.dtype) * movable
    return landmarks + torch.einsum("bp,pn,bpi->bni", growth, shares, down)


def unit_vector(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-6)


# On the device once: to copy a list there makes the host wait for all that the device has to do.


@cache
def indices(landmarks: tuple[int, ...], device: torch.device) -> Tensor:
    """The numbers of landmarks, to select by."""
    return torch.tensor(landmarks, device=device)


@cache
def share_matrix(gaps: Gaps, device: torch.device) -> Tensor:
    """How far each landmark moves as each gap grows by 1: (P, 68)."""
    matrix = torch.zeros(len(gaps.shares), NUM_LANDMARKS)
    for row, shares in zip(matrix, gaps.shares, strict=True):
        for landmark, share in shares:
            row[landmark] = share
    return matrix.to(device)
