"""Landmarks of a drawn face, whose mouth and eyes open as they are told."""

import math

import torch
from torch import Tensor

MOUTH = list(range(48, 68))


def drawn_face(mouth: float = 0.0, eyes: float = 0.09, wide: float = 0.0) -> Tensor:
    """(1, 68, 2) float64; the eyes' outer corners are at (-0.5, 0) and (0.5, 0).

    ``mouth`` and ``eyes`` are openings, in that unit; ``wide`` moves the mouth's corners outwards.
    """
    jaw = [
        (-0.78 * math.cos(math.pi * i / 16), 1.2 * math.sin(math.pi * i / 16)) for i in range(17)
    ]
    jaw = [(x, y + 0.7 * mouth if 5 <= i <= 11 else y) for i, (x, y) in enumerate(jaw)]
    brow = [(0.15, -0.25), (0.27, -0.3), (0.4, -0.32), (0.53, -0.3), (0.65, -0.24)]
    nose = [(0, 0), (0, 0.15), (0, 0.3), (0, 0.42)]
    nose += [(-0.15, 0.5), (-0.08, 0.52), (0, 0.53), (0.08, 0.52), (0.15, 0.5)]
    up, low = -eyes / 2, eyes / 2
    left = [(-0.5, 0), (-0.4, up), (-0.28, up), (-0.18, 0), (-0.28, low), (-0.4, low)]
    right = [(0.18, 0), (0.28, up), (0.4, up), (0.5, 0), (0.4, low), (0.28, low)]
    edge = 0.3 + wide
    outer = [(-edge, 0.8), (-0.2, 0.74), (-0.08, 0.71), (0, 0.72), (0.08, 0.71), (0.2, 0.74)]
    outer += [(edge, 0.8), (0.2, 0.86 + 0.9 * mouth), (0.08, 0.9 + mouth), (0, 0.91 + mouth)]
    outer += [(-0.08, 0.9 + mouth), (-0.2, 0.86 + 0.9 * mouth)]
    inner = [(0.05 - edge, 0.8), (-0.08, 0.8), (0, 0.8), (0.08, 0.8), (edge - 0.05, 0.8)]
    inner += [(0.08, 0.8 + mouth), (0, 0.8 + mouth), (-0.08, 0.8 + mouth)]
    brows = [(-x, y) for x, y in reversed(brow)] + brow
    return torch.tensor([[*jaw, *brows, *nose, *left, *right, *outer, *inner]]).double()


def similarity(face: Tensor, scale: float, angle: float, x: float, y: float) -> Tensor:
    """A face made larger, turned (to the right and down for a positive angle) and moved."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = torch.tensor([[cos, -sin], [sin, cos]]).to(face)
    return face @ turn.mT + torch.tensor([x, y]).to(face)


def turned_head(face: Tensor, narrow: float) -> Tensor:
    """A face as narrow as that of a head that is turned away."""
    return face * torch.tensor([narrow, 1.0]).to(face)
