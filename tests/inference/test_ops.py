import pytest
import torch
import torch.nn.functional as F

from inference.ops import (
    attend,
    attend_by_convolutions,
    attend_by_products,
    convolve_by_products,
    convolve_one_by_one,
    join_half,
    normalise,
    warp_visible,
    warp_visible_by_sampling,
    write_half,
)
from modules.dense_motion import DenseMotion
from modules.generator import warp_visible as plain_warp_visible
from tests.tiny import normal


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("num_sources", [1, 3])
@pytest.mark.parametrize("layout", [channels_last, torch.Tensor.contiguous])
def test_a_warp_by_table_is_the_generators_warp(num_sources, layout):
    feature = layout(normal(num_sources, 5, 12, 16))
    deformation = 0.8 * normal(3, 6, 8, 2, seed=1)  # a part of it looks beyond the border
    occlusion = normal(3, 1, 6, 8, seed=2).sigmoid()
    motion = DenseMotion(deformation, occlusion, occlusion, occlusion)
    expected = plain_warp_visible(feature.expand(3, -1, -1, -1), motion)
    found = warp_visible(feature, deformation, occlusion)
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("form", [attend, attend_by_products, attend_by_convolutions])
@pytest.mark.parametrize("height", [3, 70])  # fewer and more queries than are taken at once
def test_every_form_of_attention_is_that_of_pytorch(form, height):
    query = channels_last(normal(2, 6, height, 64))
    keys, values = (channels_last(normal(2, 6, 4, 5, seed=seed)) for seed in (1, 2))
    q, k, v = (x.flatten(2).mT for x in (query, keys, values))
    expected = F.scaled_dot_product_attention(q, k, v, scale=1.0).mT.unflatten(2, (height, 64))
    torch.testing.assert_close(form(query, keys, values), expected)


@pytest.mark.parametrize("form", [convolve_one_by_one, convolve_by_products])
def test_every_sample_is_convolved_by_its_own_kernel(form):
    x, kernels, biases = channels_last(normal(3, 4, 5, 6)), normal(3, 7, 3, 3, 4), normal(3, 7)
    own = kernels.permute(0, 1, 4, 2, 3).flatten(0, 1)
    grouped = F.conv2d(x.reshape(1, 12, 5, 6), own, biases.flatten(), padding=1, groups=3)
    torch.testing.assert_close(form(x, kernels, biases), grouped.view(3, 7, 5, 6))


@pytest.mark.parametrize("form", [warp_visible, warp_visible_by_sampling])
def test_every_form_of_a_warp_is_the_generators(form):
    feature, deformation = normal(2, 5, 12, 16), 0.8 * normal(2, 6, 8, 2, seed=1)
    occlusion = normal(2, 1, 6, 8, seed=2).sigmoid()
    expected = plain_warp_visible(
        feature, DenseMotion(deformation, occlusion, occlusion, occlusion)
    )
    torch.testing.assert_close(form(feature, deformation, occlusion), expected)


def test_a_half_of_the_channels_is_replaced_in_place_or_in_a_copy():
    feature, half = normal(2, 6, 4, 5), normal(2, 3, 4, 5, seed=1)
    expected = torch.cat([feature[:, :3], half], dim=1)
    before = feature.clone()
    torch.testing.assert_close(join_half(feature, half), expected)
    torch.testing.assert_close(feature, before)
    torch.testing.assert_close(write_half(feature, half), expected)
    torch.testing.assert_close(feature, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (5, 1)])
def test_a_line_of_one_pixel_is_warped_too(height, width):
    feature, occlusion = normal(2, 5, height, width), torch.ones(2, 1, height, width)
    deformation = 1.2 * normal(2, height, width, 2, seed=1)
    expected = warp_visible_by_sampling(feature, deformation, occlusion)
    torch.testing.assert_close(warp_visible(feature, deformation, occlusion), expected)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_warp_from_nowhere_finds_nothing(value):
    feature, occlusion = normal(1, 5, 8, 8), torch.ones(1, 1, 8, 8)
    warped = warp_visible(feature, torch.full((1, 8, 8, 2), value), occlusion)
    assert torch.equal(warped, torch.zeros_like(warped))


def test_a_norm_is_that_of_each_channel_and_sample():
    norm = torch.nn.InstanceNorm2d(5, affine=True)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    feature = channels_last(normal(2, 5, 6, 8) + 3).float()
    found = normalise(feature, norm)
    torch.testing.assert_close(found, norm(feature))
    assert found.is_contiguous(memory_format=torch.channels_last)
