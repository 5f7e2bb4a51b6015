"""A whole person as surfaces: head, ears, long hair, neck and shoulders, posed."""

import numpy as np

from datasets.synthetic.features import smoothstep
from datasets.synthetic.head import head
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
    """All surfaces of a person in a pose."""
    turn = head_to_world(pose)
    surfaces = [head(identity, pose, turn), *_ears(identity, turn)]
    surfaces += [_neck(pose, turn), _torso(pose)]
    if identity.hair_length > 0.6:
        surfaces.append(_long_hair(identity, turn))
    return surfaces


def _plain(part: str, face: np.ndarray, points: np.ndarray, angle: np.ndarray) -> Surface:
    """A surface without a hairline."""
    shape = face.shape[:2]
    return Surface(part, face, points, np.zeros(shape), np.broadcast_to(angle, shape))


def _ears(identity: Identity, turn: Transform) -> list[Surface]:
    """Flat shells on both sides of the head, standing off at the back."""
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
    """A curtain that hangs behind the face, down to its length."""
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
    """A tube that turns with the head at its top and stays with the body at its foot."""
    angle = np.linspace(-np.pi, np.pi, 33)
    y = np.linspace(0.35, 1.5, 10)
    wide = 0.4 + 0.05 * smoothstep(1.0, 1.5, y)
    front = 0.24 - 0.25 * smoothstep(1.05, 1.5, y)  # sinks into the chest
    face = loft(y, wide, front, np.full_like(y, -0.62), angle)
    share = smoothstep(1.35, 0.6, y)[:, None, None]
    points = share * turn(face) + (1 - share) * body_to_world(pose)(face)
    return _plain("neck", face, points, angle)


def _torso(pose: Pose) -> Surface:
    """Shoulders and chest, closed at the top by starting inside the neck."""
    angle = np.linspace(-np.pi, np.pi, 41)
    y = 1.12 + np.linspace(0, 1, 16) ** 1.5 * 1.9
    slope = np.clip((y - 1.12) / 0.75, 0, 1)
    width = 0.34 + 1.2 * (0.55 * slope + 0.45 * np.sqrt(1 - (1 - slope) ** 2))
    front = 0.2 + 0.5 * smoothstep(1.1, 2.2, y)
    face = loft(y, width, front, -0.55 - 0.4 * slope, angle)
    return _plain("torso", face, body_to_world(pose)(face), angle)
