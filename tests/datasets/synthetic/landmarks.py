"""Compute where the named points of a generated face are, and which of them can be seen."""

from typing import NamedTuple

import numpy as np

from datasets.synthetic.body import body
from datasets.synthetic.features import Brow, Eye, arc, brows, eyes, mouth
from datasets.synthetic.motion import Pose
from datasets.synthetic.person import Identity
from datasets.synthetic.rasteriser import build_mesh, rasterise
from datasets.synthetic.surface import Surface, head_to_world, project

DEPTH_SIZE = 128  # pixels of the depth map that decides what is hidden
DEPTH_MARGIN = 0.06  # how far behind that map, in head units, a point still counts as visible


class Landmarks(NamedTuple):
    """L points; "left" and "right" are sides of the picture when the head looks straight."""

    names: list[str]
    positions: np.ndarray  # (L, 2), (x, y) in [-1, 1]
    visible: np.ndarray  # (L,), bool

    def position(self, name: str) -> np.ndarray:
        return np.asarray(self.positions[self.names.index(name)])

    def is_visible(self, name: str) -> bool:
        return bool(self.visible[self.names.index(name)])


def landmarks(identity: Identity, pose: Pose) -> Landmarks:
    """The landmarks of ``render(identity, pose, size)`` for any size."""
    surfaces = body(identity, pose)
    head, *ears = surfaces[:3]
    flat = _face_points(identity, pose)
    raised = np.array([_raise(point, head) for point in flat.values()])
    rims = np.array([_outermost(ear.face) for ear in ears])
    points = project(head_to_world(pose)(np.concatenate([raised, rims])))

    # A point is visible where nothing else is nearer to the viewer.
    mesh = build_mesh(surfaces, DEPTH_SIZE)
    shown = rasterise(mesh.pixels, mesh.triangles, DEPTH_SIZE)
    depth = np.full(DEPTH_SIZE**2, -np.inf)
    depth[shown.pixels] = shown.depth
    column, row = np.rint((points[:, :2].T + 1) / 2 * (DEPTH_SIZE - 1)).astype(int)
    in_picture = (abs(points[:, :2]) <= 1).all(axis=1)
    nearest = depth[np.where(in_picture, row * DEPTH_SIZE + column, 0)]
    visible = in_picture & (points[:, 2] > nearest - DEPTH_MARGIN)
    return Landmarks([*flat, "left ear", "right ear"], points[:, :2], visible)


def _face_points(identity: Identity, pose: Pose) -> dict[str, tuple[float, float]]:
    """The landmarks on the front of the head, (x, y) in face coordinates."""
    lips = mouth(identity, pose)
    points = {
        "nose bridge": (0.0, identity.eye_y),
        "nose tip": (0.0, identity.nose_y),
        "left mouth corner": (-lips.width, float(lips.line(-lips.width))),
        "right mouth corner": (lips.width, float(lips.line(lips.width))),
        "upper lip": (0.0, float(lips.upper_outer(0.0))),
        "lower lip": (0.0, float(lips.lower_outer(0.0))),
        "mouth top": (0.0, float(lips.upper_inner(0.0))),
        "mouth bottom": (0.0, float(lips.lower_inner(0.0))),
        "chin": (0.0, 0.9 + lips.drop),
    }
    for side, eye, brow in zip(
        ("left", "right"), eyes(identity, pose), brows(identity, pose), strict=True
    ):
        points |= {
            f"{side} pupil": eye.pupil,
            f"{side} eye inner corner": _on_lid(eye, -1.0, 0.0),
            f"{side} eye outer corner": _on_lid(eye, 1.0, 0.0),
            f"{side} upper lid": _on_lid(eye, 0.0, -eye.above),
            f"{side} lower lid": _on_lid(eye, 0.0, eye.below),
            f"{side} brow inner end": _on_brow(brow, -1.0),
            f"{side} brow middle": _on_brow(brow, 0.0),
            f"{side} brow outer end": _on_brow(brow, 1.0),
        }
    return points


def _on_lid(eye: Eye, along: float, height: float) -> tuple[float, float]:
    """The point of a lid: ``height`` is ``-above`` or ``below``."""
    offset = along * eye.width
    return eye.x + eye.side * offset, eye.y + float(arc(along)) * height - eye.tilt * offset


def _on_brow(brow: Brow, along: float) -> tuple[float, float]:
    """The point of the middle line."""
    return brow.x + brow.side * along * brow.width, float(brow.middle(along))


def _raise(point: tuple[float, float], surface: Surface) -> tuple[float, float, float]:
    """A point (x, y) put on the front of a surface, by a weighted mean of the nearest corners."""
    x, y, z = surface.face[np.abs(surface.angle) < np.pi / 2].T
    distance = np.hypot(x - point[0], y - point[1])
    weight = np.exp(-((distance / (distance.min() + 0.02)) ** 2))
    return *point, float(weight @ z / weight.sum())


def _outermost(face: np.ndarray) -> np.ndarray:
    """The point of an ear that is farthest from the head."""
    points = face.reshape(-1, 3)
    return np.asarray(points[np.abs(points[:, 0]).argmax()])
