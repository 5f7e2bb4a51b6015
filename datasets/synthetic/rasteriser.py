"""Join surfaces to a mesh of triangles, and rasterise it in numpy."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from datasets.synthetic.surface import Surface, project

EDGE = 0.05  # pixels by which spans overlap, so that rounding leaves no gap between neighbours
SLIVER = 1e-3  # area in square pixels; smaller triangles have no reliable slopes


class Fragments(NamedTuple):
    """F pixels that show a triangle."""

    pixels: np.ndarray  # (F,), row * width + column
    triangles: np.ndarray  # (F,), the nearest triangle
    weights: np.ndarray  # (3, F), of its corners


class Mesh(NamedTuple):
    """Mesh of V corners and T triangles."""

    pixels: np.ndarray  # (V, 3), column, row, depth
    values: np.ndarray  # (V, 8), face coordinates (3), normal (3), hair, angle as in Surface
    triangles: np.ndarray  # (T, 3)
    surface: np.ndarray  # (T,), the index of the surface that a triangle belongs to

    def interpolate(self, shown: Fragments) -> np.ndarray:
        """Interpolate the values at the fragments, (F, 8)."""
        corners = self.triangles[shown.triangles].T
        first, second, third = (
            weight[:, None] * self.values.take(corner, axis=0)
            for weight, corner in zip(shown.weights, corners, strict=True)
        )
        return first + second + third


def build_mesh(surfaces: list[Surface], size: int) -> Mesh:
    """Build the mesh for a picture of ``size`` x ``size`` pixels, corner pixels at -1 and 1."""
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
    """Split each cell of a grid into two triangles, clockwise as seen from outside."""
    corner = np.arange(rings * columns).reshape(rings, columns)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    return np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])


def _normals(points: np.ndarray) -> np.ndarray:
    down, round_about = np.gradient(points, axis=(0, 1))
    normal = np.cross(round_about, down)
    return normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)


def rasterise(points: np.ndarray, triangles: np.ndarray, size: int) -> Fragments:
    """Find the visible parts of a mesh in a picture of ``size`` x ``size`` pixels.

    ``points`` (V, 3) are x and y in pixels (whole numbers are centres) and a depth that is larger
    nearer to the viewer.  ``triangles`` (T, 3) are seen from the side from which their corners go
    round clockwise.  Each triangle is cut into one span per row of pixels, each span into pixels.
    """
    corners = np.ascontiguousarray(triangles.T)
    x, y, depth = (np.ascontiguousarray(axis)[corners] for axis in points.T)  # (3 corners, T)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    top = np.maximum(np.ceil(y.min(axis=0)), 0)
    bottom = np.minimum(np.floor(y.max(axis=0)), size - 1)
    seen = np.flatnonzero((area > SLIVER) & (bottom >= top))
    x, y, depth = x[:, seen], y[:, seen], depth[:, seen]
    slope_x, slope_y, constant = _weight_planes(x, y, area[seen])

    owner, row = _expand(top[seen], bottom[seen])
    along, at_row = slope_x[:, owner], slope_y[:, owner] * row + constant[:, owner]
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = -at_row / along  # column where each weight is 0, (3, spans)
    left = np.where(along > 0, zero, -np.inf).max(axis=0)
    right = np.where(along < 0, zero, np.inf).min(axis=0)
    left, right = np.ceil(np.maximum(left - EDGE, 0)), np.floor(np.minimum(right + EDGE, size - 1))
    span, column = _expand(left, right)

    depth_x, depth_y, depth_0 = ((p * depth).sum(axis=0) for p in (slope_x, slope_y, constant))
    row_depth = depth_y[owner] * row + depth_0[owner]
    candidates = depth_x[owner][span] * column + row_depth[span]
    pixels = (row[span] * size + column).astype(np.int32)
    nearest = _nearest(pixels, candidates, size * size)

    span, column = span[nearest], column[nearest]
    weights = np.maximum(slope_x[:, owner[span]] * column + at_row[:, span], 0)
    weights /= weights.sum(axis=0)
    return Fragments(pixels[nearest], seen[owner[span]], weights)


def _weight_planes(
    x: np.ndarray, y: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the weight of each corner as a plane over the picture: slopes in x, y, constant."""
    x1, y1, x2, y2 = x[[1, 2, 0]], y[[1, 2, 0]], x[[2, 0, 1]], y[[2, 0, 1]]
    return (y1 - y2) / area, (x2 - x1) / area, (x1 * y2 - x2 * y1) / area


def _expand(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List all whole numbers of many closed ranges, each with the index of its range."""
    lengths = np.maximum(last - first + 1, 0).astype(np.int32)
    owner = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    offsets = np.arange(len(owner), dtype=np.int32) - starts[owner]
    return owner, first[owner] + offsets.astype(first.dtype)


def _nearest(pixels: np.ndarray, depth: np.ndarray, count: int) -> np.ndarray:
    """Find the nearest candidate for each pixel: indices, in the order of pixels."""
    best = np.full(count, -np.inf, dtype=depth.dtype)
    np.maximum.at(best, pixels, depth)
    on_top = np.flatnonzero(depth >= best[pixels])
    winner = np.full(count, -1, dtype=np.int32)
    winner[pixels[on_top]] = on_top
    return winner[winner >= 0]
