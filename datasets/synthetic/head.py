"""The head as a surface: a skull of elliptic rings, with the features of the face in relief."""

from functools import lru_cache

import numpy as np

from datasets.synthetic.features import Mouth, bump, eyes, mouth, smoothstep
from datasets.synthetic.motion import Pose
from datasets.synthetic.person import Identity
from datasets.synthetic.surface import Surface, Transform, front_columns, loft


def head(identity: Identity, pose: Pose, turn: Transform) -> Surface:
    """The head with the expression of a pose."""
    skull, hair, angle = _skull(identity)
    face = _relief(identity, pose, skull)
    return Surface("head", face, turn(face), hair, angle)


@lru_cache(maxsize=4)
def _skull(identity: Identity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The head without features: points, hair and angle as in Surface."""
    t = np.linspace(0, np.pi, 64)
    y = -np.cos(t + 0.25 * np.sin(2 * t))  # rings closer together where the face is
    above = y < 0
    roundness = (1 - np.abs(y) ** np.where(above, 2.5, 2.0)) ** np.where(above, 0.45, 0.5)
    temples = 0.1 * bump(y, y, (-0.4, -0.4), (0.85, 0.85))
    jaw = 0.55 * smoothstep(0.25, 0.9, y) * (1.25 - identity.jaw_width)
    width = identity.face_width * roundness * (1 + temples - jaw)
    under = 0.55 * smoothstep(0.2, 0.8, y)  # the skull ends under the chin, not over the neck
    front = under + (0.86 - under) * np.sqrt(1 - np.abs(y) ** np.where(above, 2.6, 5.0))
    back = under - 0.98 * roundness
    angle = front_columns(77)
    points = loft(y, width, front, back, angle)

    heights, angles = np.broadcast_arrays(y[:, None], angle)
    hair = _hairline(identity, angles) - heights
    locks = 1 + 0.5 * identity.curl * np.sin(9 * angles + 2) * np.sin(11 * heights)
    fullness = identity.hair_volume * smoothstep(0, 0.3, hair) * locks
    points = points * (1 + fullness[..., None])
    return points.astype(np.float32), hair, angles


def _hairline(identity: Identity, angle: np.ndarray) -> np.ndarray:
    """Its y: over the forehead, down the temples to the sideburns, round the ears, to the nape."""
    turned = np.abs(angle)
    front = identity.hairline
    line = np.interp(
        turned,
        [0.0, 0.55, 0.95, 1.2, 1.42, 1.75, 2.2, np.pi],
        [front, front + 0.03, -0.36, -0.05, 0.12, 0.05, 0.5, 0.6],
    )
    return line + identity.fringe * np.sin(2.6 * angle) * smoothstep(1.1, 0.7, turned)


def _relief(identity: Identity, pose: Pose, skull: np.ndarray) -> np.ndarray:
    """The skull with the jaw moved and the features of the face standing out."""
    lips = mouth(identity, pose)
    x, y, z = skull[..., 0], _drop_jaw(skull, lips), skull[..., 2]
    out = _nose(identity, x, y) + _lips(lips, x, y) + _sockets(identity, pose, x, y)
    out += identity.chin * bump(x, y, (0, 0.86 + lips.drop), (0.26, 0.14))
    for side in (-1, 1):
        out += identity.cheeks * bump(x, y, (side * 0.42, 0.28), (0.22, 0.2))
        out += 0.03 * pose.smile * bump(x, y, (side * 0.36, 0.36), (0.14, 0.14))
    return np.stack([x, y, z + smoothstep(0.0, 0.45, z) * out], axis=-1)


def _drop_jaw(skull: np.ndarray, lips: Mouth) -> np.ndarray:
    """y of the points: below the mouth they follow the lower lip, less so towards the ears."""
    y, z = skull[..., 1], skull[..., 2]
    below = smoothstep(lips.y - 0.02, lips.y + 0.12, y)
    return y + lips.drop * below * smoothstep(-0.4, 0.5, z)


def _nose(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A ridge that rises down to a round tip, and two wings."""
    tip, width, height = identity.nose_y, identity.nose_width, identity.nose_height
    rise = smoothstep(-0.25, tip, y) ** 1.3
    ridge = rise * smoothstep(tip + 0.13, tip - 0.01, y)
    nose = 0.72 * height * ridge * np.exp(-((x / (0.075 + 0.35 * width * rise)) ** 2))
    nose += 0.3 * height * bump(x, y, (0, tip), (0.8 * width, 0.075))
    for side in (-1, 1):
        nose += 0.42 * height * bump(x, y, (side * width, tip + 0.035), (0.05, 0.055))
    return nose


def _lips(lips: Mouth, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two soft rolls on the muzzle."""
    inside = np.exp(-((x / lips.width) ** 4))
    upper = (lips.upper_inner(x) + lips.upper_outer(x)) / 2
    lower = (lips.lower_inner(x) + lips.lower_outer(x)) / 2
    rolls = 0.05 * np.exp(-(((y - upper) / (0.8 * lips.upper)) ** 2))
    rolls += 0.06 * np.exp(-(((y - lower) / (0.8 * lips.lower)) ** 2))
    muzzle = 0.06 * bump(x, y, (0, lips.y), (0.3, 0.2))
    return rolls * inside + muzzle


def _sockets(identity: Identity, pose: Pose, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Hollows with the eyeballs in them, under the ridge of the brows."""
    relief = 0.05 * bump(x, y, (0, identity.brow_y), (0.5, 0.1))
    for eye in eyes(identity, pose):
        relief -= 0.1 * bump(x, y, (0.93 * eye.x, eye.y - 0.02), (0.2, 0.13))
        relief += 0.06 * bump(x, y, (eye.x, eye.y), (0.13, 0.1))
    return relief
