"""Make surfaces from rings, pose them, and project them to the picture.

Face coordinates are those of the head before it moves: x to the right of the picture, y down from
-1 (top) to 1 (chin), z towards the viewer.  World coordinates have the same axes and the head in
its pose.
"""

from typing import NamedTuple

import numpy as np

from datasets.synthetic.motion import Pose

PIVOT = np.array([0.0, 0.65, -0.25])  # of the head, on the neck
EAR = (0.1, -0.1)  # y and z of the middle of the ears
CENTRE = np.array([0.0, -0.1])  # of the head in the picture
ZOOM = 0.6  # image units for a head unit
CAMERA = 7.0  # its distance, in head units


class Surface(NamedTuple):
    """Grid of R rings by C columns; the columns run round from the back over the front."""

    part: str
    face: np.ndarray  # (R, C, 3), the points before the head turns
    points: np.ndarray  # (R, C, 3), in the world
    hair: np.ndarray  # (R, C), depth inside the hairline, in head units; negative on skin
    angle: np.ndarray  # (R, C), round the vertical axis, 0 = front


def loft(
    y: np.ndarray, width: np.ndarray, front: np.ndarray, back: np.ndarray, angle: np.ndarray
) -> np.ndarray:
    """Make rings at heights ``y`` (R,) of elliptic section, at ``angle`` (C,): (R, C, 3)."""
    across, ahead = np.sin(angle), np.cos(angle)
    middle, depth = (front + back) / 2, (front - back) / 2
    x = width[:, None] * across
    z = middle[:, None] + depth[:, None] * ahead
    return np.stack([x, np.broadcast_to(y[:, None], x.shape), z], axis=-1)


class Transform(NamedTuple):
    """Rotation and scaling of points about the pivot, and a shift."""

    matrix: np.ndarray
    shift: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        return (points - PIVOT) @ self.matrix.T + self.shift


def head_to_world(pose: Pose) -> Transform:
    """Return the transform of the head from rest into its pose."""
    cos, sin = np.cos(pose[:3]), np.sin(pose[:3])  # yaw, pitch, roll
    yaw = np.array([[cos[0], 0, sin[0]], [0, 1, 0], [-sin[0], 0, cos[0]]])
    pitch = np.array([[1, 0, 0], [0, cos[1], sin[1]], [0, -sin[1], cos[1]]])
    roll = np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    shift = np.array([pose.shift_x, pose.shift_y, 0]) / ZOOM
    return Transform(pose.scale * roll @ pitch @ yaw, pose.scale * PIVOT + shift)


def body_to_world(pose: Pose) -> Transform:
    """Return the transform of neck and shoulders, which follow the head a little."""
    return head_to_world(
        Pose(
            yaw=0.2 * pose.yaw,
            roll=0.1 * pose.roll,
            shift_x=0.45 * pose.shift_x,
            shift_y=0.35 * pose.shift_y,
            scale=1 + 0.5 * (pose.scale - 1),
        )
    )


def project(points: np.ndarray) -> np.ndarray:
    """Project world points (..., 3) to image coordinates in [-1, 1] and depth."""
    nearness = CAMERA / (CAMERA - points[..., 2:])
    return np.concatenate([CENTRE + ZOOM * nearness * points[..., :2], points[..., 2:]], axis=-1)


def front_columns(count: int) -> np.ndarray:
    """Return angles from back to back, closer together in front."""
    u = np.linspace(-np.pi, np.pi, count)
    return u - 0.45 * np.sin(u)
