"""Build a posed person from surfaces: head, ears, long hair, neck and shoulders.

The head is a skull of elliptic rings, with the features of the face in relief.
"""

from functools import lru_cache

import numpy as np

from datasets.synthetic.features import Mouth, bump, eyes, mouth, smoothstep
from datasets.synthetic.motion import Pose
from datasets.synthetic.person import Identity
from datasets.synthetic.surface import (
    EAR,
    Surface,
    Transform,
    body_to_world,
    front_columns,
    head_to_world,
    loft,
)


def body(identity: Identity, pose: Pose) -> list[Surface]:
    """Build all surfaces of a person in a pose."""
    turn = head_to_world(pose)
    surfaces = [head(identity, pose, turn), *_ears(identity, turn)]
    surfaces += [_neck(pose, turn), _torso(pose)]
    if identity.hair_length > 0.6:
        surfaces.append(_long_hair(identity, turn))
    return surfaces


def _plain(part: str, face: np.ndarray, points: np.ndarray, angle: np.ndarray) -> Surface:
    """Make a surface without a hairline."""
    shape = face.shape[:2]
    return Surface(part, face, points, np.zeros(shape), np.broadcast_to(angle, shape))


def _ears(identity: Identity, turn: Transform) -> list[Surface]:
    """Build the ears: flat shells on both sides of the head, which stand off at the back."""
    angle = np.linspace(-np.pi, np.pi, 15)
    t = np.linspace(0, np.pi, 11)
    y = -np.cos(t)  # from the top to the lobe, which is narrower
    depth = np.sin(t) * (0.1 - 0.03 * y)
    shell = identity.ear_size * loft(0.2 * y, 0.07 * np.sqrt(np.sin(t)), depth, -depth, angle)
    ears = []
    for side in (-1, 1):
        c, s = np.cos(0.45), side * np.sin(0.45)
        stand_off = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        face = shell @ stand_off.T + (side * 1.03 * identity.face_width, *EAR)
        ears.append(_plain("ear", face, turn(face), angle))
    return ears


def _long_hair(identity: Identity, turn: Transform) -> Surface:
    """Build long hair: a curtain that hangs behind the face, down to its length."""
    angle = front_columns(41)
    t = np.linspace(0, 1, 19)
    y = -0.75 + (identity.hair_length + 0.75) * t
    swell = np.sqrt(1 - (1 - np.minimum(t / 0.45, 1)) ** 2) * smoothstep(1.12, 0.9, t)
    width = swell * (identity.face_width + 0.1 + 0.6 * identity.hair_volume)
    front = -0.3 + 0.32 * swell
    back = -0.4 - (0.6 + identity.hair_volume) * swell
    face = loft(y, width, front, back, angle)
    waves = 1 + 0.05 * identity.curl * np.sin(14 * angle) * np.sin(9 * y)[:, None]
    face[..., [0, 2]] *= waves[..., None]
    return _plain("hair", face, turn(face), angle)


def _neck(pose: Pose, turn: Transform) -> Surface:
    """Build the neck: a tube that turns with the head at its top and with the body at its foot."""
    angle = np.linspace(-np.pi, np.pi, 33)
    y = np.linspace(0.35, 1.5, 10)
    wide = 0.4 + 0.05 * smoothstep(1.0, 1.5, y)
    front = 0.24 - 0.25 * smoothstep(1.05, 1.5, y)  # sinks into the chest
    face = loft(y, wide, front, np.full_like(y, -0.62), angle)
    share = smoothstep(1.35, 0.6, y)[:, None, None]
    points = share * turn(face) + (1 - share) * body_to_world(pose)(face)
    return _plain("neck", face, points, angle)


def _torso(pose: Pose) -> Surface:
    """Build shoulders and chest, closed at the top by starting inside the neck."""
    angle = np.linspace(-np.pi, np.pi, 41)
    y = 1.12 + np.linspace(0, 1, 16) ** 1.5 * 1.9
    slope = np.clip((y - 1.12) / 0.75, 0, 1)
    width = 0.34 + 1.2 * (0.55 * slope + 0.45 * np.sqrt(1 - (1 - slope) ** 2))
    front = 0.2 + 0.5 * smoothstep(1.1, 2.2, y)
    face = loft(y, width, front, -0.55 - 0.4 * slope, angle)
    return _plain("torso", face, body_to_world(pose)(face), angle)


def head(identity: Identity, pose: Pose, turn: Transform) -> Surface:
    """Build the head with the expression of a pose."""
    skull, hair, angle = _skull(identity)
    face = _relief(identity, pose, skull)
    return Surface("head", face, turn(face), hair, angle)


@lru_cache(maxsize=4)
def _skull(identity: Identity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Build the head without features: points, hair and angle as in Surface."""
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
    """Return y of the hairline: over forehead and temples, round the ears, to the nape."""
    turned = np.abs(angle)
    front = identity.hairline
    line = np.interp(
        turned,
        [0.0, 0.55, 0.95, 1.2, 1.42, 1.75, 2.2, np.pi],
        [front, front + 0.03, -0.36, -0.05, 0.12, 0.05, 0.5, 0.6],
    )
    return line + identity.fringe * np.sin(2.6 * angle) * smoothstep(1.1, 0.7, turned)


def _relief(identity: Identity, pose: Pose, skull: np.ndarray) -> np.ndarray:
    """Move the jaw of the skull, and raise the features of the face."""
    lips = mouth(identity, pose)
    x, y, z = skull[..., 0], _drop_jaw(skull, lips), skull[..., 2]
    out = _nose(identity, x, y) + _lips(lips, x, y) + _sockets(identity, pose, x, y)
    out += identity.chin * bump(x, y, (0, 0.86 + lips.drop), (0.26, 0.14))
    for side in (-1, 1):
        out += identity.cheeks * bump(x, y, (side * 0.42, 0.28), (0.22, 0.2))
        out += 0.03 * pose.smile * bump(x, y, (side * 0.36, 0.36), (0.14, 0.14))
    return np.stack([x, y, z + smoothstep(0.0, 0.45, z) * out], axis=-1)


def _drop_jaw(skull: np.ndarray, lips: Mouth) -> np.ndarray:
    """Return y of the points: below the mouth they follow the lower lip, less so near the ears."""
    y, z = skull[..., 1], skull[..., 2]
    below = smoothstep(lips.y - 0.02, lips.y + 0.12, y)
    return y + lips.drop * below * smoothstep(-0.4, 0.5, z)


def _nose(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Raise a ridge with a round tip, and two wings."""
    tip, width, height = identity.nose_y, identity.nose_width, identity.nose_height
    rise = smoothstep(-0.25, tip, y) ** 1.3
    ridge = rise * smoothstep(tip + 0.13, tip - 0.01, y)
    nose = 0.72 * height * ridge * np.exp(-((x / (0.075 + 0.35 * width * rise)) ** 2))
    nose += 0.3 * height * bump(x, y, (0, tip), (0.8 * width, 0.075))
    for side in (-1, 1):
        nose += 0.42 * height * bump(x, y, (side * width, tip + 0.035), (0.05, 0.055))
    return nose


def _lips(lips: Mouth, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Raise two soft rolls on the muzzle."""
    inside = np.exp(-((x / lips.width) ** 4))
    upper = (lips.upper_inner(x) + lips.upper_outer(x)) / 2
    lower = (lips.lower_inner(x) + lips.lower_outer(x)) / 2
    rolls = 0.05 * np.exp(-(((y - upper) / (0.8 * lips.upper)) ** 2))
    rolls += 0.06 * np.exp(-(((y - lower) / (0.8 * lips.lower)) ** 2))
    muzzle = 0.06 * bump(x, y, (0, lips.y), (0.3, 0.2))
    return rolls * inside + muzzle


def _sockets(identity: Identity, pose: Pose, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sink hollows with the eyeballs in them, under the ridge of the brows."""
    relief = 0.05 * bump(x, y, (0, identity.brow_y), (0.5, 0.1))
    for eye in eyes(identity, pose):
        relief -= 0.1 * bump(x, y, (0.93 * eye.x, eye.y - 0.02), (0.2, 0.13))
        relief += 0.06 * bump(x, y, (eye.x, eye.y), (0.13, 0.1))
    return relief
