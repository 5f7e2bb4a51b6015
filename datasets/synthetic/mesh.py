"""The surfaces of a person as one mesh of triangles, in pixels."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from datasets.synthetic.rasteriser import Fragments
from datasets.synthetic.surface import Surface, project


class Mesh(NamedTuple):
    """V corners and T triangles."""

    pixels: np.ndarray  # (V, 3), column, row, depth
    values: np.ndarray  # (V, 8), face coordinates (3), normal (3), hair, angle as in Surface
    triangles: np.ndarray  # (T, 3)
    surface: np.ndarray  # (T,), the index of the surface that a triangle belongs to

    def interpolate(self, shown: Fragments) -> np.ndarray:
        """The values at the fragments, (F, 8)."""
        corners = self.triangles[shown.triangles].T
        first, second, third = (
            weight[:, None] * self.values.take(corner, axis=0)
            for weight, corner in zip(shown.weights, corners, strict=True)
        )
        return first + second + third


def build_mesh(surfaces: list[Surface], size: int) -> Mesh:
    """The mesh for a picture of ``size`` x ``size`` pixels, corner pixels at -1 and 1."""
    pixels, values, triangles, owner = [], [], [], []
    num_corners = 0
    for index, surface in enumerate(surfaces):
        place = project(surface.points)
        place[..., :2] = (place[..., :2] + 1) / 2 * (size - 1)
        pixels.append(place.reshape(-1, 3))
        parts = [surface.face, _normals(surface.points), surface.hair, surface.angle]
        values.append(np.dstack(parts).reshape(-1, 8))
        triangles.append(num_corners + _grid_triangles(*surface.hair.shape))
        owner.append(np.full(len(triangles[-1]), index))
        num_corners += surface.hair.size
    return Mesh(
        np.concatenate(pixels, dtype=np.float32),
        np.concatenate(values, dtype=np.float32),
        np.concatenate(triangles),
        np.concatenate(owner),
    )


@lru_cache
def _grid_triangles(rings: int, columns: int) -> np.ndarray:
    """Two triangles for each cell of a grid, clockwise as seen from outside."""
    corner = np.arange(rings * columns).reshape(rings, columns)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    return np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])


def _normals(points: np.ndarray) -> np.ndarray:
    """Outward normals at the points of a grid."""
    down, round_about = np.gradient(points, axis=(0, 1))
    normal = np.cross(round_about, down)
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
