"""The random transform of the equivariance loss: affine noise plus a thin-plate spline.

    T(z) = A z + b + sum_i c_i U(r_i),    U(r) = r^2 log(r + 1e-6)

``r_i`` is the L1 distance of z to control point i of a regular grid, ``c_i`` one number a point,
added to both coordinates (FOMM).  The transformed frame shows at z what the frame shows at T(z),
so T leads from the transformed frame back to the frame.
"""

import torch
from torch import Tensor

from modules.geometry import coordinate_grid, full_precision, inverse_2x2, sample

CONTROL_POINTS = 5  # on a side of the grid
AFFINE_STD = 0.05  # of the noise on the identity
CONTROL_STD = 0.005
EPSILON = 1e-6


class RandomTransform:
    """Random transform T of a batch, from affine noise (B, 2, 3) and control parameters (B, 25)."""

    def __init__(self, affine_noise: Tensor, control: Tensor) -> None:
        identity = torch.eye(2, 3, device=affine_noise.device, dtype=affine_noise.dtype)
        affine = identity + affine_noise
        self.linear, self.shift = affine[:, :, :2], affine[:, :, 2]
        self.control = control
        size = (CONTROL_POINTS, CONTROL_POINTS)
        self.control_points = coordinate_grid(size, like=affine).flatten(0, 1)  # (25, 2)

    def points(self, z: Tensor) -> Tensor:
        """Apply T to points (B or 1, N, 2) in [-1, 1]: (B, N, 2)."""
        distances = (z[:, :, None] - self.control_points).abs().sum(dim=-1)  # (B, N, 25)
        bending = distances.square() * torch.log(distances + EPSILON)
        with full_precision(z):
            bent = bending @ self.control[..., None]  # (B, N, 1)
            return z @ self.linear.mT + self.shift[:, None] + bent

    def inverse(self, points: Tensor, iterations: int = 5) -> Tensor:
        """Apply the inverse of T to points (B, N, 2) by Newton's method: (B, N, 2)."""
        z = points
        for _ in range(iterations):
            error = self.points(z) - points
            z = z - (inverse_2x2(self.jacobians(z)) @ error[..., None])[..., 0]
        return z

    def jacobians(self, z: Tensor) -> Tensor:
        """Compute dT/dz at points (B, N, 2): (B, N, 2, 2).

        U'(r) = 2 r log(r + 1e-6) + r^2 / (r + 1e-6), and dr/dz = sign(z - control point).
        """
        offsets = z[:, :, None] - self.control_points  # (B, N, 25, 2)
        distances = offsets.abs().sum(dim=-1)
        slopes = 2 * distances * torch.log(distances + EPSILON)
        slopes = slopes + distances.square() / (distances + EPSILON)  # (B, N, 25)
        with full_precision(z):
            gradient = torch.einsum("bnc,bc,bncj->bnj", slopes, self.control, offsets.sign())
        return self.linear[:, None] + gradient[:, :, None]  # the same for both coordinates

    def frame(self, image: Tensor) -> Tensor:
        """Transform (B, 3, H, W): the result shows at z what ``image`` shows at T(z)."""
        grid = coordinate_grid(image.shape[-2:], like=image)  # (H, W, 2)
        field = self.points(grid.flatten(0, 1)[None]).unflatten(1, grid.shape[:2])
        return sample(image, field, align_corners=False, padding="reflection")
