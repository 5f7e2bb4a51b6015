"""Motion of a head, fitted to the landmarks of two frames.

    d = A n + u z v^T

``n`` are landmarks of one frame and ``d`` those of another, both centred, ``u`` the eye distance in
the first, ``z`` how far each landmark of a human face stands out.  So a head that turns, far more
than a flat picture of one can, does so in A (which foreshortens it) and v (by which what stands
out is displaced), and nothing of it is taken for an expression.

Landmarks are (B, 68, 2), (x, y) in a unit that is the same along both axes, y downwards.  A plane
vector (x, y) stands for the complex number x + iy where rotations are meant.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from modules.face_landmarks import MIRRORED, NUM_LANDMARKS, OUTER_CORNERS

# Corners of the eyes and nose, which no expression moves.  Not the temples: they are where the
# outline happens to be, and slide over a head that turns.
RIGID = (36, 39, 42, 45, 27, 28, 30, 31, 32, 33, 34, 35)

# How far the left half of a face and its middle stand out, relative to the plane that fits the
# rigid points best, in units of the tip of the nose.  By factorisation of the landmarks of 188
# people in motion; equal for the two landmarks of an opening, which no turn of the head changes.
DEPTHS = dict(enumerate((-2.4, -3.7, -4.0, -4.4, -4.3, -3.9, -3.3, -2.8, -2.65)))  # jaw
DEPTHS |= {17: -1.1, 18: 0.05, 19: 0.55, 20: 0.85, 21: 1.05}  # brow
DEPTHS |= {27: 0.65, 28: 0.8, 29: 1.0, 30: 1.0, 31: -0.2, 32: -0.2, 33: -0.1}  # nose
DEPTHS |= {36: -0.6, 37: -0.35, 41: -0.35, 38: -0.25, 40: -0.25, 39: -0.2}  # eye
DEPTHS |= dict.fromkeys((48, 60), -1.6) | dict.fromkeys((49, 59), -1.05)  # mouth, outside to inside
DEPTHS |= dict.fromkeys((50, 61, 67, 58), -0.9) | dict.fromkeys((51, 62, 66, 57), -0.8)

# Bounds.  Nearly all frames of people who speak to a camera stay below them; a face that turns out
# of profile has several times as much, and distorts the source.
MAX_SCALE = 2.0  # and at least its inverse
MAX_DEVIATION = 0.2  # of A from a similarity: lengths differ by at most (1 + d) / (1 - d) = 1.5
MAX_TURN = 0.2  # length of v
MIN_UNIT = 1e-2  # the least eye distance


class HeadMotion(NamedTuple):
    """Motion of a head about its centre: linear, and what a turn displaces."""

    linear: Tensor  # A, (B, 2, 2)
    turn: Tensor  # v, (B, 1, 2)

    def __call__(self, landmarks: Tensor, unit: Tensor) -> Tensor:
        """Move centred landmarks (B, 68, 2) of a face of this eye distance, (B, 1, 1)."""
        return landmarks @ self.linear.mT + unit * depths(landmarks.device) * self.turn


def fit_head(before: Tensor, after: Tensor) -> HeadMotion:
    """Fit the motion of a head from landmarks ``before`` to ``after``, (B, 68, 2) each.

    Least squares over the rigid points, with a faint pull to no motion, which decides where all
    of them are on one line or on one spot.
    """
    start, end = (rigid_points(face) - face_centre(face) for face in (before, after))
    depth = rigid_points(depths(start.device)[None]) * face_unit(before)  # (B, R, 1)
    known = torch.cat([start, depth], dim=-1)  # (B, R, 3)
    scatter = known.mT @ known
    identity = torch.eye(3, dtype=start.dtype, device=start.device)
    pull = 1e-6 * scatter.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[:, None, None] + 1e-12
    # Unlike inv, inv_ex does not wait for a GPU to tell whether it failed.
    inverse = torch.linalg.inv_ex(scatter + pull * identity).inverse
    change = (inverse @ known.mT @ (end - start)).mT  # (B, 2, 3)
    return HeadMotion(identity[:2, :2] + change[..., :2], change[..., 2:].mT)


def bounded_head(motion: HeadMotion, strength: float = 1.0) -> HeadMotion:
    """Take a motion ``strength`` times as far (0 to 2), within the bounds."""
    linear = bounded(strengthened(motion.linear, strength))
    return HeadMotion(linear, limited(strength * motion.turn, MAX_TURN))


def strengthened(linear: Tensor, strength: float) -> Tensor:
    """Take a linear map (..., 2, 2) ``strength`` times as far from the identity.

    As z -> a (z + c z*), a rotation and scaling a = exp(s + i t) after a stretch c,

        z -> exp(h s + i h t) (z + h c z*).

    0 gives the identity, 1 the map.  Above 1 the stretch stays below ``MAX_DEVIATION``, or the
    map's own if that is larger, so that a map which can be inverted stays one.
    """
    size, angle, stretch = polar(linear)
    own = stretch.norm(dim=-1, keepdim=True)
    stretch = limited(strength * stretch, own.clamp_min(MAX_DEVIATION))
    return from_polar(size**strength, strength * angle, stretch)


def bounded(linear: Tensor) -> Tensor:
    """Limit the scale and the deviation from a similarity of linear maps (..., 2, 2)."""
    size, angle, stretch = polar(linear)
    size = size.clamp(1 / MAX_SCALE, MAX_SCALE)
    return from_polar(size, angle, limited(stretch, MAX_DEVIATION))


def polar(linear: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Decompose maps z -> a (z + c z*), (..., 2, 2): size and angle (...,) of a, and c (..., 2)."""
    (p, q), (r, s) = (row.unbind(-1) for row in linear.unbind(-2))
    a = torch.stack([p + s, r - q], dim=-1) / 2
    b = torch.stack([p - s, r + q], dim=-1) / 2
    size = a.norm(dim=-1).clamp_min(1e-6)
    conjugate = torch.stack([p + s, q - r], dim=-1) / 2
    stretch = rotate(b, conjugate) / size.square()[..., None]
    return size, torch.atan2(a[..., 1], a[..., 0]), stretch


def from_polar(size: Tensor, angle: Tensor, stretch: Tensor) -> Tensor:
    """Compose linear maps (..., 2, 2) from what ``polar`` returned."""
    a = size[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    (x, y), (u, v) = a.unbind(-1), rotate(a, stretch).unbind(-1)
    return torch.stack([x + u, v - y, v + y, x - u], dim=-1).unflatten(-1, (2, 2))


def limited(vectors: Tensor, longest: Tensor | float) -> Tensor:
    """Shorten vectors (..., 2) to ``longest`` (..., 1) where they are longer."""
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors * (longest / length.clamp_min(longest))


def rotate(one: Tensor, other: Tensor) -> Tensor:
    """Multiply two complex numbers (..., 2)."""
    (x, y), (u, v) = one.unbind(-1), other.unbind(-1)
    return torch.stack([x * u - y * v, x * v + y * u], dim=-1)


def rigid_points(landmarks: Tensor) -> Tensor:
    """Select the points of a face that no expression moves: (B, R, 2)."""
    return landmarks.index_select(1, indices(RIGID, landmarks.device))


def face_centre(landmarks: Tensor) -> Tensor:
    """Mean of the rigid points: (B, 1, 2)."""
    return rigid_points(landmarks).mean(dim=1, keepdim=True)


def eye_vector(landmarks: Tensor) -> Tensor:
    """Vector from the left to the right outer corner of the eyes: (B, 2)."""
    (left,), (right,) = OUTER_CORNERS
    return landmarks[:, right] - landmarks[:, left]


def face_unit(landmarks: Tensor) -> Tensor:
    """Eye distance of faces, at least ``MIN_UNIT``: (B, 1, 1)."""
    return eye_vector(landmarks).norm(dim=-1).clamp_min(MIN_UNIT)[:, None, None]


# On the device once: to copy a list there makes the host wait for all that the device has to do.


@cache
def indices(landmarks: tuple[int, ...], device: torch.device) -> Tensor:
    """Indices of landmarks as a tensor on the device, to select by: (N,)."""
    return torch.tensor(landmarks, device=device)


@cache
def depths(device: torch.device) -> Tensor:
    """Depth of each landmark, 0 on average over the rigid points: (68, 1)."""
    known = DEPTHS | {MIRRORED[landmark]: depth for landmark, depth in DEPTHS.items()}
    depth = torch.tensor([known[landmark] for landmark in range(NUM_LANDMARKS)])
    return (depth - depth[list(RIGID)].mean())[:, None].to(device)


@cache
def landmark_unit(aspect: float, device: torch.device) -> Tensor:
    """Factors from (x, y) in [-1, 1] to a unit that is the same along both axes: (2,)."""
    return torch.tensor([aspect, 1.0], device=device)
