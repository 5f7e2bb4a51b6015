"""Landmarks of a portrait, moved by the head and by the expression of a driving face.

The head's motion is a map between two sets of driving landmarks (``animation.head_motion``), the
expression what the map leaves, in units of the driving face's eye distance.  Openings of lids and
lips are carried over as openings, so a portrait closes its mouth when the driving face does.

Landmarks are (B, 68, 2), (x, y) in a unit that is the same along both axes, y downwards.
"""

import torch
from torch import Tensor

from animation.head_motion import (
    HeadMotion,
    bounded_head,
    eye_vector,
    face_centre,
    face_unit,
    fit_head,
    limited,
)
from animation.openings import (
    LIDS,
    LIP_THICKNESS,
    LIPS,
    downwards,
    indices,
    openings,
    set_openings,
    unit_vector,
)
from modules.geometry import inverse_2x2

MAX_EXPRESSION = 0.6  # displacement of a landmark, in eye distances: a wide open mouth has 0.5

USUAL_EYES = 0.085  # opening of open eyes, in eye distances
CLOSED_EYES = 0.045  # below it eyes are taken as closed
MAX_WIDENING = 2.0  # of eyes, relative to their neutral opening
LEAST_LIP = 0.3  # of the source's own thickness, which a lip keeps however it is pressed


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
    """What a face's landmarks do beside the head's motion since it was neutral: (B, 68, 2).

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
    """The rotation from the direction of ``start`` to that of ``to``, (B, 2) each: (B, 2, 2)."""
    (x, y), (u, v) = unit_vector(to).unbind(-1), unit_vector(start).unbind(-1)
    cos, sin = x * u + y * v, y * u - x * v
    return torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))
