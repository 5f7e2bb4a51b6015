"""Move the landmarks of the source by the head and the expression of a driving face.

The head's motion is a map between two sets of driving landmarks (``animation.head_motion``), the
expression what the map leaves, in units of the driving face's eye distance.  Openings of lids and
lips are carried over as openings, so the source closes its mouth when the driving face does.

Landmarks are (B, 68, 2), (x, y) in a unit that is the same along both axes, y downwards.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from animation.head_motion import (
    HeadMotion,
    bounded_head,
    eye_vector,
    face_centre,
    face_unit,
    fit_head,
    indices,
    limited,
)
from modules.face_landmarks import NUM_LANDMARKS, PARTS
from modules.geometry import inverse_2x2

MAX_EXPRESSION = 0.6  # displacement of a landmark, in eye distances: a wide open mouth has 0.5
MAX_BROWS = 0.05  # of exaggerated brows: farther up or down they leave marks in hair and on lids

USUAL_EYES = 0.085  # opening of open eyes, in eye distances
CLOSED_EYES = 0.045  # below it eyes are taken as closed
MAX_WIDENING = 2.0  # of eyes, relative to their neutral opening
LEAST_LIP = 0.3  # of the source's own thickness, which a lip keeps however it is pressed

Shares = tuple[tuple[int, float], ...]  # landmarks, and what they move


class Gaps(NamedTuple):
    """Openings between an upper and a lower landmark each, and how they are opened."""

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


def move_landmarks(
    source: Tensor,
    driving: Tensor,
    initial: Tensor,
    neutral: Tensor | None,
    *,
    scale: float,
    head: float,
    expression: Tensor,
) -> Tensor:
    """Move the source's landmarks as the driving face moved and expresses itself.

        q = H(s' - c^S) + c^S + h s (c_t^D - c_0^D),    H = bounded(fit(d_0, d_t)^h)

    ``s'`` is the source with the driving expression (see ``express``), ``c`` the mean of a face's
    rigid points, ``h`` the strength ``head``, ``s`` the ratio ``scale`` of the faces.  The head's
    motion is relative to ``initial``, the expression to ``neutral`` (``initial`` if None);
    ``expression`` is its strength for each landmark, (68,).  Each set of landmarks is a batch of
    one, or of B.
    """
    motion = fit_head(initial, driving)
    since_neutral = motion if neutral is None else fit_head(neutral, driving)
    neutral = initial if neutral is None else neutral
    shape = express(source, neutral, expression_of(driving, neutral, since_neutral), expression)
    centre = face_centre(source)
    travel = head * scale * (face_centre(driving) - face_centre(initial))
    moved = bounded_head(motion, head)(shape - centre, face_unit(source))
    return moved + centre + travel


def exaggerate(source: Tensor, driving: Tensor, gain: Tensor) -> Tensor:
    """Move driving landmarks farther from the source's expression, in the driving pose.

        d' = H(s) + limited(g (d - H(s))),    H = fit(s, d)

    ``gain`` is that of each landmark across and down the driving face, (68, 2); see
    ``landmark_gains``.  No landmark gets farther from H(s) than its reach (see ``reach_matrix``),
    or than the driving face has it.  Lids and lips do not cross where they did not.
    """
    motion = fit_head(source, driving)
    posed = motion(source - face_centre(source), face_unit(source)) + face_centre(driving)
    axes = face_axes(driving)
    change = (driving - posed) @ axes
    reach = reach_matrix(driving.device) * face_unit(driving)
    bound = change.norm(dim=-1, keepdim=True).maximum(reach)
    farther = driving + (limited(gain * change, bound) - change) @ axes.mT
    for gaps in (LIPS, LIDS, LIP_THICKNESS):
        down = downwards(driving, gaps)
        own, now, wanted = (openings(face, gaps, down) for face in (posed, driving, farther))
        if gaps is LIPS:  # an open mouth of the source is shut only where the driving mouth is
            wanted = now + (now / own.clamp_min(1e-6)).clamp(0, 1) * (wanted - now)
        wanted = torch.maximum(wanted, now.clamp_max(0))
        farther = set_openings(farther, gaps, wanted, down, gain.amax(dim=1) > 1)
    return farther


def landmark_gains(*, mouth: float, width: float, eyes: float, brows: float) -> Tensor:
    """Spread gains of four expressions over the landmarks, across and down the face: (68, 2).

    The chin goes down as the mouth opens.
    """
    gains = torch.ones(NUM_LANDMARKS, 2)
    gains[list(PARTS["mouth"])] = torch.tensor([width, mouth])
    gains[list(CHIN), 1] = mouth
    gains[list(PARTS["eyes"])] = eyes
    gains[list(PARTS["brows"]), 1] = brows
    return gains


def express(source: Tensor, neutral: Tensor, expression: Tensor, strength: Tensor) -> Tensor:
    """Give an expression of the driving face to the source's landmarks, in the source's pose.

        s' = s + x u^S R e

    ``e`` is the expression (see ``expression_of``), ``u`` a face's eye distance, ``R`` the
    rotation from the neutral driving face's line of the eyes to the source's, ``x`` the strength
    of each landmark, (68,).  Then lips and lids are moved so that they are as far apart as

        o = o^S + min(x, 1) (o_0 - o^S) + x (o_t - o_0),    at least 0,

    where for the mouth o_0 and o_t are the driving face's openings, neutral and now, and for the
    lids o_0 is the source's own opening (a usual one where its eyes are closed) and o_t the same
    times the driving face's opening relative to its neutral one.
    """
    unit_s, unit_n = face_unit(source), face_unit(neutral)
    turn = rotation(eye_vector(source), eye_vector(neutral))  # (B, 2, 2)
    shape = source + strength[:, None] * unit_s * (expression @ turn.mT)

    posed = neutral + unit_n * expression  # the driving face with its head where it was neutral
    for gaps in (LIPS, LIDS):
        down_s, down_n = downwards(source, gaps), downwards(neutral, gaps)
        own = openings(source, gaps, down_s) / unit_s[..., 0]  # in eye distances
        rest, now = (openings(face, gaps, down_n) / unit_n[..., 0] for face in (neutral, posed))
        if gaps is LIDS:
            widening = (now / rest.clamp_min(CLOSED_EYES)).clamp_max(MAX_WIDENING)
            rest = own.where(own >= CLOSED_EYES, USUAL_EYES)
            now = rest * widening
        x = strength[indices(gaps.upper, strength.device)]
        wanted = own + x.clamp_max(1) * (rest - own) + x * (now - rest)
        wanted = unit_s[..., 0] * wanted.clamp_min(0)
        shape = set_openings(shape, gaps, wanted, down_s, strength > 0)

    down = downwards(source, LIP_THICKNESS)
    least = LEAST_LIP * openings(source, LIP_THICKNESS, down).clamp_min(0)
    kept = torch.maximum(openings(shape, LIP_THICKNESS, down), least)
    return set_openings(shape, LIP_THICKNESS, kept, down, strength > 0)


def expression_of(driving: Tensor, neutral: Tensor, motion: HeadMotion) -> Tensor:
    """Extract what landmarks do beside the head's motion since the neutral face: (B, 68, 2).

        e = A^-1 ((d - c) - H(n - c_n)) / u_n,    A that of bounded(H)

    ``H`` is the head's ``motion`` since it was neutral.  In units of the neutral face's eye
    distance, in its pose; at most ``MAX_EXPRESSION`` long.  What the bounds take from H is head
    motion and does not reappear as expression.
    """
    unit = face_unit(neutral)
    rest = (driving - face_centre(driving)) - motion(neutral - face_centre(neutral), unit)
    expression = rest @ inverse_2x2(bounded_head(motion).linear).mT / unit
    return limited(expression, MAX_EXPRESSION)


def rotation(to: Tensor, start: Tensor) -> Tensor:
    """Rotation from the direction of ``start`` to that of ``to``, (B, 2) each: (B, 2, 2)."""
    (x, y), (u, v) = unit_vector(to).unbind(-1), unit_vector(start).unbind(-1)
    cos, sin = x * u + y * v, y * u - x * v
    return torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))


def face_axes(face: Tensor) -> Tensor:
    """Unit vectors along a face's line of the eyes and down from it, as columns: (B, 2, 2)."""
    x, y = unit_vector(eye_vector(face)).unbind(-1)
    return torch.stack([x, -y, y, x], dim=-1).unflatten(-1, (2, 2))


def downwards(face: Tensor, gaps: Gaps) -> Tensor:
    """Unit vectors at right angles to the lines of a face's corners: (B, P, 2)."""
    left, right = zip(*gaps.corners, strict=True)
    x, y = unit_vector(between(face, left, right)).unbind(-1)
    return torch.stack([-y, x], dim=-1)


def openings(landmarks: Tensor, gaps: Gaps, down: Tensor) -> Tensor:
    """Measure how far lower landmarks are below upper ones, negative where they cross: (B, P).

    ``down`` is that of the face at rest: corners that move far do not change what is below.
    """
    return (between(landmarks, gaps.upper, gaps.lower) * down).sum(dim=-1)


def between(landmarks: Tensor, start: tuple[int, ...], end: tuple[int, ...]) -> Tensor:
    """Vectors from some landmarks to others: (B, P, 2)."""
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
    """Scale vectors (..., 2) to length 1."""
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-6)


@cache
def share_matrix(gaps: Gaps, device: torch.device) -> Tensor:
    """Matrix of how far each landmark moves as each gap grows by 1: (P, 68)."""
    matrix = torch.zeros(len(gaps.shares), NUM_LANDMARKS)
    for row, shares in zip(matrix, gaps.shares, strict=True):
        for landmark, share in shares:
            row[landmark] = share
    return matrix.to(device)


@cache
def reach_matrix(device: torch.device) -> Tensor:
    """Matrix of how far an exaggeration takes each landmark, in eye distances: (68, 1)."""
    matrix = torch.full((NUM_LANDMARKS, 1), MAX_EXPRESSION)
    matrix[list(PARTS["brows"])] = MAX_BROWS
    return matrix.to(device)
