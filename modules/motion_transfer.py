"""From the motion of the driving face to keypoints of the source face (FOMM).

Absolute motion uses the driving keypoints as they are.  Relative motion, ``transfer_motion``,
moves the source's own keypoints by what the driving face did since an initial frame, so that the
shape of the source's face survives.  It suits an initial frame of the same pose as the source:
``shape_distances`` helps to find it.
"""

import math

import numpy as np
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor

from modules.geometry import Keypoints, inverse_2x2


def transfer_motion(
    source: Keypoints,
    driving: Keypoints,
    initial: Keypoints,
    *,
    scale: float = 1.0,
    relative_jacobians: bool = True,
) -> Keypoints:
    """Keypoints of the source, moved as the driving face moved since ``initial``.

        p = s (p_t^D - p_0^D) + p^S,    J = J_t^D (J_0^D)^-1 J^S

    Without ``relative_jacobians``, ``J = J_t^D``.  Source and initial keypoints of a batch of
    one serve driving keypoints of any batch.
    """
    positions = scale * (driving.positions - initial.positions) + source.positions
    jacobians = driving.jacobians
    if relative_jacobians:
        jacobians = driving.jacobians @ inverse_2x2(initial.jacobians) @ source.jacobians
    landmarks = scale * (driving.landmarks - initial.landmarks) + source.landmarks
    return Keypoints(positions, jacobians, landmarks)


def movement_scale(source: Keypoints, initial: Keypoints) -> float:
    """How much larger the source's face is than the driving face: ``sqrt(area^S / area_0^D)``.

    The areas are those of the keypoints' convex hulls, in batches of one.  Where one of the
    hulls has no area there is nothing to compare, and the scale is 1.
    """
    source_area, driving_area = (hull_area(to_numpy(k.positions[0])) for k in (source, initial))
    if source_area == 0 or driving_area == 0:
        return 1.0
    return math.sqrt(source_area / driving_area)


def shape_distances(shapes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """How far each of ``shapes`` (N, P, 2) is from the shape of ``target`` (P, 2): (N,).

    Shapes are compared centred and divided by the square root of their hull's area, so that
    place and size do not count.  The sum of squared differences; infinite where a shape is
    missing (NaN) or has no area.
    """
    normalised = np.stack([normalise_shape(shape) for shape in shapes])
    distances = np.square(normalised - normalise_shape(target)).sum(axis=(1, 2))
    return np.where(np.isnan(distances), np.inf, distances)


def normalise_shape(points: np.ndarray) -> np.ndarray:
    """``points`` (P, 2) centred, with a hull of area 1; NaN where they span no area."""
    area = hull_area(points)
    if area == 0:
        return np.full(points.shape, np.nan)
    normalised: np.ndarray = (points - points.mean(axis=0)) / math.sqrt(area)
    return normalised


def hull_area(points: np.ndarray) -> float:
    """The area of the convex hull of ``points`` (P, 2); 0 where they are NaN or on one line."""
    if np.isnan(points).any():
        return 0.0
    try:
        return float(ConvexHull(points).volume)  # in the plane "volume" is the area
    except QhullError:  # fewer than three points, or all on one line
        return 0.0


def to_numpy(points: Tensor) -> np.ndarray:
    """``points`` as float64 on the host."""
    return points.detach().double().cpu().numpy()
