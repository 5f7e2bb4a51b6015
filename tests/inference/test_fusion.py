import torch
import torch.nn.functional as F
from torch import nn

from inference.fusion import (
    compose,
    fuse_norms,
    halves_order,
    kernel_at_four,
    reorder_residual,
)
from modules.blocks import Hourglass, ResidualBlock, SameBlock
from modules.memory_compensation import split_channels
from tests.tiny import normal, randomise_norms


def random_block(network: nn.Module) -> nn.Module:
    return randomise_norms(network).double().eval()


@torch.no_grad()
def test_fused_norms_change_nothing():
    for network in (SameBlock(3, 5), ResidualBlock(3), Hourglass(3, 4, depth=2, max_width=8)):
        block = random_block(network)
        x = normal(2, 3, 8, 12)
        expected = block(x)
        fuse_norms(block)
        torch.testing.assert_close(block(x), expected)


@torch.no_grad()
def test_only_norms_that_open_a_residual_block_are_left():
    block = random_block(nn.Sequential(ResidualBlock(3), SameBlock(3, 5)))
    fuse_norms(block)
    norms = [name for name, module in block.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == ["0.norm1"]


def test_a_composed_kernel_is_both_convolutions():
    x, before, after = normal(2, 3, 6, 7), normal(5, 3, 1, 1, seed=1), normal(4, 5, 3, 3, seed=2)
    expected = F.conv2d(F.conv2d(x, before), after, padding=1)
    torch.testing.assert_close(F.conv2d(x, compose(after, before), padding=1), expected)


def test_a_kernel_at_four_pixels_paints_them_as_it_would_one_by_one():
    x, kernel = normal(2, 3, 6, 8), normal(2, 3, 7, 7, seed=1)
    four = F.conv2d(x, kernel_at_four(kernel), stride=2, padding=3)
    expected = F.conv2d(x, kernel, padding=3)
    torch.testing.assert_close(F.pixel_shuffle(four, 2), expected)


def test_the_order_of_halves_is_that_of_the_split():
    feature = normal(2, 6, 3, 3)
    ordered = feature[:, halves_order(6)]
    torch.testing.assert_close(ordered, torch.cat(split_channels(feature), dim=1))


@torch.no_grad()
def test_a_reordered_residual_block_does_the_same_in_another_order():
    block = random_block(ResidualBlock(6))
    fuse_norms(block)
    x, order = normal(2, 6, 4, 5), torch.tensor([3, 0, 5, 1, 2, 4])
    expected = block(x)[:, order]
    reorder_residual(block, order)
    torch.testing.assert_close(block(x[:, order]), expected)
