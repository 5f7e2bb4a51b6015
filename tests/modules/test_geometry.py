import math

import pytest
import torch

from modules.geometry import (
    AntiAliasedDownsample,
    coordinate_grid,
    gaussian_maps,
    inverse_2x2,
    resize,
    sample,
    warp,
)
from tests.tiny import random_images, random_keypoints


def test_corner_pixels_stand_at_the_ends():
    grid = coordinate_grid((5, 7), like=torch.zeros(1))
    assert grid.shape == (5, 7, 2)
    assert grid[0, 0].tolist() == [-1, -1]
    assert grid[0, 6].tolist() == [1, -1]
    assert grid[3, 2].tolist() == pytest.approx([2 * 2 / 6 - 1, 2 * 3 / 4 - 1])


def test_a_gaussian_peaks_at_its_keypoint():
    grid = coordinate_grid((9, 11), like=torch.zeros(1))
    maps = gaussian_maps(grid[6, 3][None, None], (9, 11), variance=0.02)
    assert maps[0, 0, 6, 3] == 1
    distance = (grid[0, 10] - grid[6, 3]).square().sum().item()
    assert maps[0, 0, 0, 10].item() == pytest.approx(math.exp(-distance / 0.04))


def test_the_closed_inverse_undoes_its_matrix():
    matrices = random_keypoints(batch=3, num_kp=7).jacobians
    identity = torch.eye(2).expand_as(matrices)
    torch.testing.assert_close(inverse_2x2(matrices) @ matrices, identity)


def test_a_bfloat16_matrix_is_inverted_in_float32():
    assert inverse_2x2(torch.eye(2, dtype=torch.bfloat16)).dtype == torch.float32


def test_the_identity_field_changes_nothing():
    image = random_images(size=(6, 9))
    grid = coordinate_grid((6, 9), like=image).expand(2, -1, -1, -1)
    torch.testing.assert_close(sample(image, grid, align_corners=True), image)


def test_warping_resizes_the_field_to_the_feature():
    image = random_images(size=(12, 16))
    coarse = coordinate_grid((3, 4), like=image).expand(2, -1, -1, -1)
    torch.testing.assert_close(warp(image, coarse), image)


def test_sampling_outside_the_image_gives_zeros():
    image = random_images(size=(6, 9))
    assert sample(image, torch.full((2, 4, 4, 2), 3.0), align_corners=True).abs().max() == 0


def test_a_shift_by_one_pixel_moves_the_image_by_one_pixel():
    image = random_images(size=(6, 9))
    grid = coordinate_grid((6, 9), like=image) + torch.tensor([2 / 8, 0])
    moved = sample(image, grid.expand(2, -1, -1, -1), align_corners=True)
    torch.testing.assert_close(moved[..., :-1], image[..., 1:])


def test_resizing_keeps_the_corners():
    image = random_images(size=(4, 6))
    resized = resize(image, (9, 13))
    assert resized.shape[-2:] == (9, 13)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(resized[..., row, column], image[..., row, column])


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_downsampling_averages_as_the_slow_sum_does(factor):
    image = random_images(batch=1, size=(16, 24))
    sigma = (factor - 1) / 2
    radius = round(4 * sigma)
    offsets = torch.arange(-radius, radius + 1).double()
    kernel = torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = torch.nn.functional.pad(image.double(), [radius] * 4)
    row, column = 1, 2
    window = padded[0, 1, row * factor :, column * factor :][: len(kernel), : len(kernel)]
    downsampled = AntiAliasedDownsample(factor)(image)
    assert downsampled.shape == (1, 3, 16 // factor, 24 // factor)
    assert downsampled[0, 1, row, column].item() == pytest.approx((window * kernel).sum().item())


def test_a_factor_of_one_returns_the_image():
    image = random_images()
    assert AntiAliasedDownsample(1)(image) is image


def test_downsampling_is_in_float32_under_autocast_too():
    image = random_images(size=(16, 24))
    with torch.autocast("cpu", torch.bfloat16):
        downsampled = AntiAliasedDownsample(4)(image)
    assert torch.equal(downsampled, AntiAliasedDownsample(4)(image))


def test_samples_and_their_gradients_keep_the_memory_layout():
    field = coordinate_grid((6, 9), like=torch.zeros(1)).expand(2, -1, -1, -1)
    for layout in (torch.channels_last, torch.contiguous_format):
        image = random_images(size=(6, 9)).contiguous(memory_format=layout).requires_grad_()
        found = []
        intermediate = image * 1
        intermediate.register_hook(found.append)
        sampled = sample(intermediate, field, align_corners=True)
        sampled.square().sum().backward()
        assert sampled.is_contiguous(memory_format=layout)
        assert found[0].is_contiguous(memory_format=layout)
