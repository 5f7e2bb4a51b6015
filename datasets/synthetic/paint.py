"""The colours of every part of a person."""

import numpy as np

from datasets.synthetic.canvas import Canvas, strands, tint
from datasets.synthetic.face_paint import paint_head
from datasets.synthetic.features import bump, smoothstep
from datasets.synthetic.motion import Pose
from datasets.synthetic.person import Identity
from datasets.synthetic.surface import EAR


def paint(part: str, canvas: Canvas, identity: Identity, pose: Pose) -> None:
    """Paints the points of a ``part``, named as in Surface."""
    if part == "head":
        paint_head(canvas, identity, pose)
    else:
        _PAINTERS[part](canvas, identity)


def _paint_hair(canvas: Canvas, identity: Identity) -> None:
    lock = strands(identity.texture, canvas.angle, 0.4 * canvas.y, identity.curl)
    canvas.fill(np.asarray(identity.hair) * (0.5 + 0.7 * lock)[:, None], gloss=0.25)


def _paint_ear(canvas: Canvas, identity: Identity) -> None:
    canvas.fill(tint(identity.skin, 0.96) * [1.0, 0.9, 0.88], gloss=0.1)
    y, z = EAR
    canvas.shade(0.5 * bump(canvas.z, canvas.y, (z + 0.01, y), (0.05, 0.1)))


def _paint_neck(canvas: Canvas, identity: Identity) -> None:
    canvas.fill(identity.skin, gloss=0.08)
    canvas.shade(_shadow_of_chin(canvas))


def _shadow_of_chin(canvas: Canvas) -> np.ndarray:
    return 0.45 * smoothstep(1.4, 0.9, canvas.y)


def _paint_torso(canvas: Canvas, identity: Identity) -> None:
    """A pullover with a collar of another colour, open at the neck."""
    canvas.fill(identity.cloth, gloss=0.03)
    stripes = smoothstep(0.4, 0.6, 0.5 + 0.5 * np.sin(26 * canvas.y))
    canvas.over(identity.trim, identity.stripes * stripes)
    in_front = canvas.z > -0.2
    opening = identity.neckline * in_front * np.clip(1 - np.abs(canvas.x) / 0.4, 0, 1)
    below = canvas.y - 1.18 - opening  # the edge of the collar
    canvas.over(identity.trim, 0.85 * smoothstep(0.075, 0.06, below))
    canvas.shade(0.3 * smoothstep(0.3, 0.0, below))
    skin = canvas.patch(below < 0.01)
    skin.over(identity.skin, smoothstep(0.01, -0.01, below[below < 0.01]), gloss=0.08)
    skin.shade(_shadow_of_chin(skin) * smoothstep(0.01, -0.01, below[below < 0.01]))


_PAINTERS = {
    "hair": _paint_hair,
    "ear": _paint_ear,
    "neck": _paint_neck,
    "torso": _paint_torso,
}
