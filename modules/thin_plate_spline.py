"""The thin-plate spline: the smoothest motion of the plane that takes points to given places.

    T(z) = z + A z + b + sum_i w_i U(|z - p_i|),    U(r) = r^2 log r

``p_i`` are the landmarks of the driving face and points at the border of the picture, which stay
(Bookstein, PAMI 1989; as a motion of talking heads Zhao & Zhang, CVPR 2022).  B samples, N points.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from modules.geometry import coordinate_grid, full_precision

SMOOTHING = 1e-4  # points may be missed a little, so that two points on one spot do no harm
BORDER_POINTS = 4  # on each side of the picture
EPSILON = 1e-9


def spline_motion(
    source: Tensor, driving: Tensor, size: tuple[int, ...], coefficients: Tensor | None = None
) -> Tensor:
    """Compute the motion that takes driving landmarks (B, N, 2) to the source's (B, N, 2).

    ``coefficients`` are those of ``fit_landmarks`` if they are known.  Returns the source point of
    every driving point, (B, H, W, 2) in [-1, 1].
    """
    if coefficients is None:
        coefficients = fit_landmarks(source, driving)
    z = coordinate_grid(size, like=driving)  # (H, W, 2)
    with full_precision(driving):
        moved = evaluate(with_border(driving), coefficients, z.flatten(0, 1))
    return z + moved.unflatten(1, size)


def fit_landmarks(source: Tensor, driving: Tensor) -> Tensor:
    """Fit the spline from driving landmarks to the source's, (B, N, 2) each, fixed at the border.

    Returns its coefficients (B, N + 4 BORDER_POINTS + 3, 2), as ``fit`` does.
    """
    points = with_border(driving)
    displacements = F.pad(source - driving, (0, 0, 0, points.shape[1] - driving.shape[1]))
    with full_precision(driving):
        return fit(points, displacements)


def fit(points: Tensor, values: Tensor) -> Tensor:
    """Fit splines through ``values`` (B, N, 2) at ``points`` (B, N, 2).

    Returns the coefficients (B, N + 3, 2): w_i, then b and the rows of A, of

        (U + s I) w + P (b, A) = values,    P^T w = 0,    P = (1, p)

    They have the type of ``values``, and are solved for in float64 unless the device has none.
    """
    dtype = values.dtype if values.device.type == "mps" else torch.float64
    points, wanted = points.to(dtype), F.pad(values.to(dtype), (0, 0, 0, 3))
    affine = F.pad(points, (1, 0), value=1)  # (B, N, 3)
    smoothing = SMOOTHING * torch.eye(points.shape[1], dtype=dtype, device=points.device)
    upper = torch.cat([kernel(points) + smoothing, affine], dim=2)
    system = torch.cat([upper, F.pad(affine.mT, (0, 3))], dim=1)
    solution = torch.linalg.solve_ex(system, wanted).result  # never waits for a GPU to raise
    return solution.to(values.dtype)


def kernel(points: Tensor) -> Tensor:
    """Apply U to the distances of points (B, N, 2) from each other: (B, N, N)."""
    squares = (points[:, :, None] - points[:, None]).square().sum(dim=-1).clamp(min=EPSILON)
    return 0.5 * squares * squares.log()


def evaluate(points: Tensor, coefficients: Tensor, z: Tensor) -> Tensor:
    """Evaluate the splines of ``fit`` at places ``z`` (M, 2): (B, M, 2).

    Points close together have large weights of opposite signs, which magnify the rounding errors of
    U far away.  Because P^T w = 0, with any L(z) and the squared distances q_i L from ``z``

        2 sum_i w_i U = L sum_i w_i (q_i log q_i - q_i + 1) + (1 + log L) sum_i w_i |p_i|^2

    L is the mean of the squared distances by |w_i|.  Far away all q_i are near 1 where w_i is
    large; there the bracket and its derivative are 0, and so are the errors.
    """
    weights, shift, matrix = coefficients.split([points.shape[1], 1, 2], dim=1)
    share = weights.detach().abs().sum(dim=-1, keepdim=True) + EPSILON
    share = (share / share.sum(dim=1, keepdim=True)).mT  # (B, 1, N)
    centre = share @ points
    point, place = points - centre, z - centre
    point_square, place_square = (x.square().sum(dim=-1, keepdim=True) for x in (point, place))
    mean = place_square + share @ point_square  # (B, M, 1), L
    ones = torch.ones_like
    left = torch.cat([place, place_square, ones(place_square)], dim=-1) / mean
    right = torch.cat([-2 * point, ones(point_square), point_square], dim=-1)
    ratio = (left @ right.mT).clamp(min=EPSILON)  # (B, M, N), q
    bracket = torch.addcmul(1 - ratio, ratio, ratio.log())
    moment = (weights * point_square).sum(dim=1, keepdim=True)
    bending = mean * (bracket @ weights) + (1 + mean.log()) * moment
    return 0.5 * bending + shift + z @ matrix


def with_border(landmarks: Tensor) -> Tensor:
    """Append the points at the border to landmarks (B, N, 2): (B, N + 4 BORDER_POINTS, 2)."""
    border = border_points(like=landmarks).expand(len(landmarks), -1, -1)
    return torch.cat([landmarks, border], dim=1)


def border_points(like: Tensor) -> Tensor:
    """List points at equal distances around the picture: (4 BORDER_POINTS, 2)."""
    line = torch.linspace(-1, 1, BORDER_POINTS + 1, device=like.device, dtype=like.dtype)[:-1]
    one = torch.ones_like(line)
    sides = [(line, -one), (one, line), (-line, one), (-one, -line)]
    return torch.cat([torch.stack(side, dim=1) for side in sides])
