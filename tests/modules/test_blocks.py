import pytest
import torch

from modules.blocks import DownBlock, Hourglass, ResidualBlock, SameBlock, UpBlock


def test_blocks_keep_halve_and_double_the_size():
    x = torch.randn(2, 3, 8, 12)
    assert SameBlock(3, 5, kernel_size=7)(x).shape == (2, 5, 8, 12)
    assert DownBlock(3, 5)(x).shape == (2, 5, 4, 6)
    assert UpBlock(3, 5)(x).shape == (2, 5, 16, 24)


def test_a_residual_block_without_weights_is_the_identity():
    block = ResidualBlock(4)
    torch.nn.init.zeros_(block.conv2.weight)
    torch.nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("size", [(16, 16), (20, 28), (9, 13)])
def test_an_hourglass_returns_its_input_beside_its_features(size):
    hourglass = Hourglass(in_channels=3, width=4, depth=3, max_width=16)
    x = torch.randn(2, 3, *size)
    y = hourglass(x)
    assert y.shape == (2, hourglass.out_channels, *size)
    torch.testing.assert_close(y[:, 4:], x)


def test_hourglass_widths_double_up_to_the_cap():
    hourglass = Hourglass(in_channels=3, width=4, depth=4, max_width=16)
    assert [down.conv.out_channels for down in hourglass.down] == [8, 16, 16, 16]
    assert [up.conv.out_channels for up in hourglass.up] == [16, 16, 8, 4]


@pytest.mark.parametrize("size", [(16, 17), (3, 5)])
def test_an_up_block_convolves_what_was_doubled(size):
    block = UpBlock(3, 5).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(block(x), SameBlock.forward(block, doubled))
