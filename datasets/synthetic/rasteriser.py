"""Triangles to pixels, in numpy: which triangle each pixel shows, and where in it."""

from typing import NamedTuple

import numpy as np

EDGE = 0.05  # pixels by which spans overlap, so that rounding leaves no gap between neighbours
SLIVER = 1e-3  # area in square pixels; what is smaller has no reliable slopes


class Fragments(NamedTuple):
    """The F pixels that show a triangle."""

    pixels: np.ndarray  # (F,), row * width + column
    triangles: np.ndarray  # (F,), the nearest triangle
    weights: np.ndarray  # (3, F), of its corners
    depth: np.ndarray  # (F,)


def rasterise(points: np.ndarray, triangles: np.ndarray, size: int) -> Fragments:
    """The visible parts of a mesh in a picture of ``size`` x ``size`` pixels.

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
    return Fragments(pixels[nearest], seen[owner[span]], weights, candidates[nearest])


def _weight_planes(
    x: np.ndarray, y: np.ndarray, area: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weight of each corner as a plane over the picture: slopes along x and y, constant."""
    x1, y1, x2, y2 = x[[1, 2, 0]], y[[1, 2, 0]], x[[2, 0, 1]], y[[2, 0, 1]]
    return (y1 - y2) / area, (x2 - x1) / area, (x1 * y2 - x2 * y1) / area


def _expand(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All whole numbers of many closed ranges, with the range that each one came from."""
    lengths = np.maximum(last - first + 1, 0).astype(np.int32)
    owner = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    offsets = np.arange(len(owner), dtype=np.int32) - starts[owner]
    return owner, first[owner] + offsets.astype(first.dtype)


def _nearest(pixels: np.ndarray, depth: np.ndarray, count: int) -> np.ndarray:
    """Of the candidates for each pixel the nearest one: indices, in order of pixels."""
    best = np.full(count, -np.inf, dtype=depth.dtype)
    np.maximum.at(best, pixels, depth)
    on_top = np.flatnonzero(depth >= best[pixels])
    winner = np.full(count, -1, dtype=np.int32)
    winner[pixels[on_top]] = on_top
    return winner[winner >= 0]
