"""Exact algebra on trained weights: layers are fused into fewer and cheaper ones.

The fused network (``inference.fused_network``) is made with it, from weights in float64.  C input
channels, O output channels, kernels of k x k.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modules.blocks import ResidualBlock, SameBlock


def fuse_norms(network: nn.Module) -> None:
    """Fuse batch norms in eval mode into the convolutions before them, in place.

    The first norm of a residual block stays: the block's input is needed without it too.
    """
    for module in network.modules():
        if isinstance(module, SameBlock) and isinstance(module.norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
        elif isinstance(module, ResidualBlock) and isinstance(module.norm2, nn.BatchNorm2d):
            module.conv1 = fuse_conv_bn_eval(module.conv1, module.norm2)
            module.norm2 = nn.Identity()


def weight_and_bias(conv: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weight (O, C, k, k) and the bias (O,) of a convolution that has both."""
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    return conv.weight, conv.bias


def compose(after: Tensor, before: Tensor) -> Tensor:
    """Compose two kernels, ``before`` (M, C, 1, 1) and ``after`` (O, M, k, k): (O, C, k, k)."""
    return torch.einsum("omuv,mc->ocuv", after, before[:, :, 0, 0])


def kernel_at_four(kernel: Tensor) -> Tensor:
    """Apply a kernel (O, C, k, k) at four pixels at once: (4 O, C, k + 1, k + 1) with stride 2.

    Output channels are in the order of ``pixel_shuffle``.  Where O is small, more of them fill the
    vector registers.
    """
    channels_out, channels_in, height, width = kernel.shape
    kernels = kernel.new_zeros(channels_out, 2, 2, channels_in, height + 1, width + 1)
    for a in (0, 1):
        for b in (0, 1):
            kernels[:, a, b, :, a : a + height, b : b + width] = kernel
    return kernels.flatten(0, 2)


def halves_order(channels: int) -> Tensor:
    """Order channels so that the even ones come first: their indices, (channels,)."""
    return torch.arange(channels).view(-1, 2).T.flatten()


def reorder_residual(block: ResidualBlock, order: Tensor) -> None:
    """Let a residual block take and return its channels in another order, in place."""
    for values in block.norm1.state_dict().values():
        if values.dim() == 1:  # all but the count of batches
            values.copy_(values[order])
    block.conv1.weight.data = block.conv1.weight[:, order]
    for parameter in weight_and_bias(block.conv2):
        parameter.data = parameter[order]
