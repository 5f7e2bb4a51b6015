"""The meta-memory bank, and its conditioning on one face: memory, keys and values.

The bank holds the facial prior of the whole training set and is shared by all samples.  The
identity representation conditions it through a modulated convolution (Karras et al., *Analyzing
and Improving the Image Quality of StyleGAN*, CVPR 2020), and kernels mixed for each sample turn it
into keys and values (MCNet).  B samples, C channels, S x S positions.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modules.geometry import at_least_float32, full_precision


class ModulatedConv(nn.Module):
    """A 3 x 3 convolution whose weights are scaled, per sample and input channel, by a style.

    Filter o of a sample is ``W_o style / sqrt(9 C)`` divided by its norm.  Scaling the weights by
    the style is scaling the input by it, and normalising a filter is scaling its output: so all
    samples share one convolution.
    """

    def __init__(self, channels: int, style_size: int, epsilon: float = 1e-8) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.randn(channels, channels, 3, 3))
        self.style_weight = nn.Parameter(torch.randn(channels, style_size))
        self.style_bias = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, identity: Tensor) -> Tensor:
        """Convolve (B or 1, C, S, S), modulated by identities (B, D): (B, C, S, S)."""
        equalised = self.style_weight / math.sqrt(self.style_weight.shape[1])
        style = F.linear(identity, equalised, self.style_bias)  # (B, C)
        weight = self.weight / math.sqrt(self.weight[0].numel())
        with full_precision(x):
            energy = at_least_float32(weight.square().sum(dim=(2, 3)))
            filter_energy = at_least_float32(style).square() @ energy.T
        demodulation = torch.rsqrt(filter_energy + self.epsilon).to(x.dtype)  # (B, C)
        x = F.conv2d(x * style[..., None, None], weight, padding=1)
        return x * demodulation[..., None, None]


class DynamicConv(nn.Module):
    """A 3 x 3 convolution whose kernel is mixed, per sample, from ``num_kernels`` learned ones.

    The mixture is read from a pooled feature (Chen et al., *Dynamic Convolution*, CVPR 2020); the
    high temperature keeps all kernels learning.
    """

    def __init__(
        self, in_channels: int, out_channels: int, num_kernels: int, temperature: float
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.weight = nn.Parameter(torch.empty(num_kernels, out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(num_kernels, out_channels))
        for kernel in self.weight:
            nn.init.kaiming_uniform_(kernel)
        hidden = in_channels // 4 + 1
        self.mixture = nn.Sequential(
            nn.Linear(in_channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, num_kernels)
        )

    def forward(self, x: Tensor, pooled: Tensor) -> Tensor:
        """Convolve (B, C, S, S) with kernels mixed by the spatial mean of a feature (B, C)."""
        logits = at_least_float32(self.mixture(pooled))
        mixture = (logits / self.temperature).softmax(dim=-1)  # (B, num_kernels)
        weights = torch.einsum("bn,noihw->boihw", mixture, self.weight)
        biases = mixture @ self.bias
        samples = zip(x.split(1), weights, biases, strict=True)
        return torch.cat([F.conv2d(one, w, b, padding=1) for one, w, b in samples])


class MetaMemory(nn.Module):
    """The bank ``M0``, with the two convolutions through which every level reads it."""

    fixed_noise: Tensor

    def __init__(
        self, channels: int, size: int, num_kernels: int, kernel_temperature: float
    ) -> None:
        super().__init__()
        self.bank = nn.Parameter(torch.randn(channels, size, size))
        self.modulated_conv = ModulatedConv(channels, style_size=channels)
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.key_value_conv = DynamicConv(channels, 2 * channels, num_kernels, kernel_temperature)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, size, size, generator=generator)
        self.register_buffer("fixed_noise", noise, persistent=False)

    def condition(self, identity: Tensor, noise: Tensor | None = None) -> Tensor:
        """Condition the bank on an identity (B, C): the memory, (B, C, S, S).

        ``noise`` (B, S, S) is unit Gaussian; None takes the fixed noise of inference, which is
        equal for all frames, so that nothing flickers.
        """
        noise = self.fixed_noise if noise is None else noise
        memory = self.modulated_conv(self.bank[None], identity)
        memory = memory + self.noise_strength * noise[:, None] + self.bias[:, None, None]
        return F.leaky_relu(memory, negative_slope=0.2) * math.sqrt(2)
