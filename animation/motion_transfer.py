"""Transfer the motion of the driving face to keypoints of the source face (FOMM).

Absolute motion uses the driving keypoints as they are.  Relative motion moves the source's own
keypoints by what the driving face did since an initial frame, so that the shape of the source's
face survives: ``transfer_motion`` is the formula, ``RelativeMotion`` applies it to the batches of
an animation.  It suits an initial frame of the same pose as the source, which
``shape_distances`` helps to find.  ``MotionStrength`` says how far the head moves and, where there
are landmarks, how far and with which parts the face expresses itself.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from animation.head_motion import MAX_SCALE, face_unit, landmark_unit, strengthened
from animation.landmark_motion import exaggerate, move_landmarks
from animation.neutral_face import NeutralSoFar
from modules.face_landmarks import NUM_LANDMARKS, PARTS
from modules.geometry import Keypoints, inverse_2x2
from utils.errors import InputError


class MotionStrength(NamedTuple):
    """Strength of the source's motion, relative to the driving face's."""

    head: float = 1.0  # 0 to 2
    expression: float = 1.0  # 0 to 2
    parts: tuple[str, ...] = tuple(PARTS)  # that express; others keep the source's expression

    def require_usable(self, has_landmarks: bool) -> None:
        """Raise InputError for unknown parts, strengths out of range, or missing landmarks."""
        for name, strength in (("head", self.head), ("expression", self.expression)):
            if not 0 <= strength <= 2:
                raise InputError(f"--{name} is a strength from 0 to 2: found {strength:g}.")
        known = list(PARTS)
        if unknown := [part for part in self.parts if part not in PARTS]:
            raise InputError(
                f"--only takes {', '.join(known[:-1])} and {known[-1]}, with commas between: "
                f"found {unknown[0]!r}."
            )
        if not has_landmarks and self._replace(head=1.0) != MotionStrength():
            raise InputError(
                "--expression and --only need a network that finds facial landmarks, and this one "
                "finds none: leave them out, or choose another --checkpoint."
            )


AS_DRIVEN = MotionStrength()  # as far as the driving face


def transfer_motion(
    source: Keypoints,
    driving: Keypoints,
    initial: Keypoints,
    *,
    scale: float = 1.0,
    relative_jacobians: bool = True,
    strength: MotionStrength = AS_DRIVEN,
    neutral: Tensor | None = None,
    aspect: float = 1.0,
) -> Keypoints:
    """Move the source's keypoints (B, K, ...) as the driving face moved since ``initial``.

        p = h s (p_t^D - p_0^D) + p^S,    J = (J_t^D (J_0^D)^-1)^h J^S

    with the strength ``h`` of the head, whose power of a map is that of ``strengthened``.
    Without ``relative_jacobians``, ``J = J_t^D``.  Landmarks move by ``move_landmarks``:
    expressions are relative to the driving landmarks ``neutral``, those of ``initial`` if left
    out, and ``aspect`` is the width of a frame over its height.  Source and initial keypoints of
    a batch of one serve driving keypoints of any batch.
    """
    positions = strength.head * scale * (driving.positions - initial.positions) + source.positions
    jacobians = driving.jacobians
    if relative_jacobians:
        turned = driving.jacobians @ inverse_2x2(initial.jacobians)
        if strength.head != 1:
            turned = strengthened(turned, strength.head)
        jacobians = turned @ source.jacobians
    if source.landmarks.shape[1] == 0:
        return Keypoints(positions, jacobians, driving.landmarks)
    square = landmark_unit(aspect, source.landmarks.device)
    landmarks = move_landmarks(
        source.landmarks * square,
        driving.landmarks * square,
        initial.landmarks * square,
        None if neutral is None else neutral * square,
        scale=scale,
        head=strength.head,
        expression=landmark_strengths(strength, source.landmarks.device),
    )
    return Keypoints(positions, jacobians, landmarks / square)


class RelativeMotion:
    """Relative motion of one animation: every batch is moved since one frame, by one scale."""

    def __init__(
        self,
        source: Keypoints,
        initial: Keypoints,
        *,
        adapt_scale: bool = False,
        strength: MotionStrength = AS_DRIVEN,
        neutral: NeutralSoFar | None = None,
        aspect: float = 1.0,
    ) -> None:
        """Measure the scale of ``source`` to ``initial``, (1, K, ...) or without it (B, K, ...).

        Where the network finds landmarks it is always adapted: they say how large both faces are.
        """
        is_adapted = adapt_scale or source.landmarks.shape[1] > 0
        self.scale = movement_scale(source, initial, aspect) if is_adapted else 1.0
        self.source, self.initial, self.neutral = source, initial, neutral
        self.strength, self.aspect = strength, aspect

    def __call__(self, driving: Keypoints) -> Keypoints:
        """Move the source's keypoints by the next driving keypoints (B, K, ...)."""
        return transfer_motion(
            self.source,
            driving,
            self.initial,
            scale=self.scale,
            strength=self.strength,
            neutral=None if self.neutral is None else self.neutral(driving.landmarks),
            aspect=self.aspect,
        )


def exaggerate_expression(
    source: Keypoints, driving: Keypoints, gain: Tensor, aspect: float = 1.0
) -> Keypoints:
    """Move driving landmarks farther from the source's expression, by gains (68, 2).

    They make up for a network that moves lids and lips less far than their landmarks.
    """
    square = landmark_unit(aspect, driving.landmarks.device)
    farther = exaggerate(source.landmarks * square, driving.landmarks * square, gain)
    return driving._replace(landmarks=farther / square)


def frames_of(keypoints: Keypoints, frames: slice) -> Keypoints:
    """Select some frames from the keypoints (T, K, ...) of a motion."""
    return Keypoints(*(part[frames] for part in keypoints))


@cache
def landmark_strengths(strength: MotionStrength, device: torch.device) -> Tensor:
    """Spread the strength of the expression over the landmarks: (68,)."""
    strengths = torch.zeros(NUM_LANDMARKS)
    for part in strength.parts:
        strengths[list(PARTS[part])] = strength.expression
    return strengths.to(device)


def movement_scale(source: Keypoints, initial: Keypoints, aspect: float = 1.0) -> float:
    """Measure how many times as large as the driving face the source's is, in batches of one.

    It is the ratio of the eye distances, between 1/2 and 2, where there are landmarks.  Else
    ``sqrt(area^S / area_0^D)``, with the areas of the keypoints' convex hulls; 1 where one of the
    hulls has no area, since there is nothing to compare.
    """
    if source.landmarks.shape[1] > 0:
        square = landmark_unit(aspect, source.landmarks.device)
        ratio = face_unit(source.landmarks * square) / face_unit(initial.landmarks * square)
        return float(ratio.clamp(1 / MAX_SCALE, MAX_SCALE))
    source_area, driving_area = (hull_area(to_numpy(k.positions[0])) for k in (source, initial))
    if source_area == 0 or driving_area == 0:
        return 1.0
    return math.sqrt(source_area / driving_area)


def shape_distances(shapes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Measure how far each of ``shapes`` (N, P, 2) is from the shape of ``target`` (P, 2): (N,).

    Shapes are compared centred and divided by the square root of their hull's area, so that
    place and size do not count.  A distance is the sum of squared differences, and infinite where
    a shape is missing (NaN) or has no area.
    """
    normalised = np.stack([normalise_shape(shape) for shape in shapes])
    distances = np.square(normalised - normalise_shape(target)).sum(axis=(1, 2))
    return np.where(np.isnan(distances), np.inf, distances)


def normalise_shape(points: np.ndarray) -> np.ndarray:
    """Centre points (P, 2) and scale their hull to area 1; NaN where they span no area."""
    area = hull_area(points)
    if area == 0:
        return np.full(points.shape, np.nan)
    normalised: np.ndarray = (points - points.mean(axis=0)) / math.sqrt(area)
    return normalised


def hull_area(points: np.ndarray) -> float:
    """Area of the convex hull of points (P, 2); 0 where they are NaN or on one line."""
    if np.isnan(points).any():
        return 0.0
    try:
        return float(ConvexHull(points).volume)  # in the plane "volume" is the area
    except QhullError:  # fewer than three points, or all on one line
        return 0.0


def to_numpy(points: Tensor) -> np.ndarray:
    """Copy points (..., 2) to the host as float64."""
    return points.detach().double().cpu().numpy()
