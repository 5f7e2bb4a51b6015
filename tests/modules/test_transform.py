import math

import pytest
import torch

from modules.geometry import coordinate_grid
from modules.transform import RandomTransform
from tests.tiny import random_keypoints


def make_transform(batch: int = 2) -> RandomTransform:
    generator = torch.Generator().manual_seed(0)
    return RandomTransform(
        0.05 * torch.randn(batch, 2, 3, generator=generator, dtype=torch.float64),
        0.005 * torch.randn(batch, 25, generator=generator, dtype=torch.float64),
    )


POINTS = random_keypoints(num_kp=6).positions.double()


def test_no_noise_changes_nothing():
    transform = RandomTransform(torch.zeros(2, 2, 3), torch.zeros(2, 25))
    points = POINTS.float()
    torch.testing.assert_close(transform.points(points), points)
    identity = torch.eye(2).expand(2, 6, 2, 2)
    torch.testing.assert_close(transform.jacobians(points), identity)


def test_points_follow_the_formula():
    transform = make_transform()
    x, y = POINTS[1, 4].tolist()
    bent = 0.0
    for index, weight in enumerate(transform.control[1].tolist()):
        column, row = index % 5, index // 5
        r = abs(x - (column / 2 - 1)) + abs(y - (row / 2 - 1))
        bent += weight * r**2 * math.log(r + 1e-6)
    linear, shift = transform.linear[1].tolist(), transform.shift[1].tolist()
    expected = [linear[i][0] * x + linear[i][1] * y + shift[i] + bent for i in range(2)]
    assert transform.points(POINTS)[1, 4].tolist() == pytest.approx(expected)


def test_jacobians_are_the_derivatives_of_points():
    transform = make_transform()

    def one_sample(points):
        return transform.points(points.expand(2, -1, -1))[1]

    derivative = torch.autograd.functional.jacobian(one_sample, POINTS[1:2])
    for k in range(POINTS.shape[1]):
        jacobian = derivative[k, :, 0, k]
        torch.testing.assert_close(
            transform.jacobians(POINTS[1:2].expand(2, -1, -1))[1, k], jacobian
        )


def test_a_frame_shows_at_z_what_was_at_t_of_z():
    """Compare on a picture of its own coordinates, away from the borders."""
    transform = RandomTransform(
        torch.tensor([[[0.0, 0.1, 0.05], [-0.05, 0.02, 0.0]]]), torch.zeros(1, 25)
    )
    size = (64, 64)
    grid = coordinate_grid(size, like=torch.zeros(1))
    picture = grid.permute(2, 0, 1)[None] * 63 / 64  # align_corners=False
    frame = transform.frame(picture)
    expected = transform.points(grid.flatten(0, 1)[None]).unflatten(1, size).permute(0, 3, 1, 2)
    inside = (slice(None), slice(None), slice(16, 48), slice(16, 48))
    torch.testing.assert_close(frame[inside], expected[inside], atol=1e-4, rtol=0)


def test_the_same_transform_serves_float32_under_autocast():
    noise, control = torch.zeros(2, 2, 3), torch.full((2, 25), 0.01)
    transform = RandomTransform(noise, control)
    points = POINTS.float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = transform.points(points), transform.jacobians(points)
    torch.testing.assert_close(inside, (transform.points(points), transform.jacobians(points)))
