"""The fused network for inference: the pictures of MCNet, at less cost.

``fuse`` makes it from a trained network, mostly by replacing layers with equivalent ones:

- What does not depend on the driving frame is computed once for a source.
- Layers with no nonlinearity between them are fused into one (``inference.fusion``).
- Weights are held in the precision asked for, and features are channels last.
- What only training needs is not computed.

B samples, K keypoints, L levels of H x W positions that read the memory, C channels and S x S
positions of the memory.
"""

import math
from copy import deepcopy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inference.fusion import (
    compose,
    fuse_norms,
    halves_order,
    kernel_at_four,
    reorder_residual,
    weight_and_bias,
)
from inference.ops import FAST, Ops
from modules.blocks import ResidualBlock, UpBlock, doubled_kernel
from modules.decoder import Decoder
from modules.dense_motion import DenseMotionNetwork, motion_heatmaps, sparse_motions
from modules.geometry import Keypoints, sample, warp
from modules.keypoint_detector import KeypointDetector
from modules.landmark_detector import LandmarkDetector
from modules.mcnet import MCNet, detect, expand, require_multiple
from modules.memory_compensation import MemoryCompensation, split_pyramid
from utils.cuda_graph import CudaGraph
from utils.device import channels_last

# A decoder with at least this many channels paints four pixels at a time.  With 8 and 12 channels
# oneDNN (3.13) computes kernels of 8 x 8 wrongly in bf16 with AMX, by as much as their values.
CHANNELS_TO_PAINT_FOUR = 16


class FusedEncoded(NamedTuple):
    """A source encoded: all that depends on it alone."""

    source: Tensor  # (B, 3, H, W) in [0, 1], float32
    keypoints: Keypoints
    small: Tensor  # (B, 3, h, w), the source at the size of the motion
    pyramid: list[Tensor]  # features, finest first; where the memory is read, the kept half first


def fuse(model: MCNet, precision: torch.dtype, ops: Ops = FAST) -> "FusedMCNet":
    """Fuse a trained network, on its device; ``model`` stays as it is."""
    with torch.no_grad():
        return FusedMCNet(deepcopy(model).eval().double(), precision, ops).requires_grad_(False)


class FusedMCNet(nn.Module):
    """The fused network: encodes a source once, detects driving keypoints, renders frames.

    All geometry is in float32, in any precision, and so are the detectors unless
    ``detect_in_precision`` is called.
    """

    def __init__(self, model: MCNet, precision: torch.dtype, ops: Ops = FAST) -> None:
        """Take the parts of a model in float64, which is changed by it."""
        super().__init__()
        self.size_multiple, self.precision, self.ops = model.size_multiple, precision, ops
        fuse_norms(model)
        generator = model.generator
        self.detector = channels_last(model.detector.float())
        self.landmark_detector = None
        if model.landmark_detector is not None:
            self.landmark_detector = channels_last(model.landmark_detector.float())
        self.motion = FusedMotion(model.dense_motion, precision)
        self.encoder = channels_last(generator.encoder.to(precision))
        self.memory = None
        if generator.memory is not None:
            self.memory = FusedMemory(generator.memory, precision, ops)
            reorder_halves(generator.decoder, model.config.memory_levels)
        self.decoder = fuse_decoder(generator.decoder, precision)
        self.cuda_graph = CudaGraph(self.compute, warm_up=1)

    def detect(self, image: Tensor) -> Keypoints:
        """Detect the keypoints of (B, 3, H, W) in [0, 1].  Raises InputError for other sizes."""
        require_multiple(image, self.size_multiple)
        return detect(image, self.detector, self.landmark_detector)

    def detect_in_precision(self, image: Tensor, tolerance: float) -> float:
        """Let the hourglasses of the detectors compute in the precision of the network.

        They do if the keypoints and the landmarks that they find in (B, 3, H, W) move by no more
        than ``tolerance``, in [-1, 1], on average.  The heads, whose logits decide, stay in
        float32.  Returns by how much they move.
        """
        detectors: list[KeypointDetector | LandmarkDetector] = [self.detector]
        if self.landmark_detector is not None:
            detectors.append(self.landmark_detector)
        hourglasses = [detector.hourglass for detector in detectors]
        exact = self.detect(image)
        for detector, hourglass in zip(detectors, hourglasses, strict=True):
            detector.set_submodule("hourglass", HourglassInPrecision(hourglass, self.precision))
        found = self.detect(image)
        pairs = [(exact.positions, found.positions), (exact.landmarks, found.landmarks)]
        means = [(a - b).norm(dim=-1).mean() for a, b in pairs if a.shape[1]]
        moved = torch.stack(means).max().item()
        if not moved <= tolerance:  # not a number where it overflows
            for detector, hourglass in zip(detectors, hourglasses, strict=True):
                detector.set_submodule("hourglass", hourglass)
        return moved

    def encode(self, source: Tensor) -> FusedEncoded:
        """Encode a source (B, 3, H, W) in [0, 1]: all that a driving frame does not change."""
        keypoints = self.detect(source)
        small = self.motion.downsample(source)
        image = source.to(self.precision, memory_format=torch.channels_last)
        pyramid = self.encoder(image)
        if self.memory is not None:
            rest, read = split_pyramid(pyramid, len(self.memory.levels))
            pyramid = [*rest, *map(halves_apart, read)]
        return FusedEncoded(source.contiguous(), keypoints, small, pyramid)

    def render(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """Move the source to the driving keypoints (B, K, ...): (B, 3, H, W) in [0, 1], float32.

        One encoded source serves any number of driving frames.
        """
        if driving.positions.device.type == "cuda":
            return self.cuda_graph(encoded, driving)
        return self.compute(encoded, driving)

    def compute(
        self, encoded: FusedEncoded, driving: Keypoints, spline: Tensor | None = None
    ) -> Tensor:
        """Render without a CUDA graph; ``spline`` are the coefficients of its motion, if known."""
        deformation, occlusion = self.motion(encoded, driving, spline)
        warped = [self.ops.warp_visible(x, deformation, occlusion) for x in encoded.pyramid]
        if self.memory is not None:
            rest, read = split_pyramid(warped, len(self.memory.levels))
            warped = [*rest, *self.memory(read, encoded.keypoints, driving)]
        warped_source = warp(expand(encoded.source, len(deformation)), deformation)
        return self.decoder(warped, warped_source, occlusion)


class HourglassInPrecision(nn.Module):
    """Hourglass that computes in another precision between maps (B, C, H, W) in float32."""

    def __init__(self, hourglass: nn.Module, precision: torch.dtype) -> None:
        """Take a copy of a hourglass."""
        super().__init__()
        self.precision = precision
        self.hourglass = channels_last(deepcopy(hourglass).to(precision))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.precision, memory_format=torch.channels_last)
        feature: Tensor = self.hourglass(x)
        return feature.float()


class FusedMotion(nn.Module):
    """Dense motion, with logits of the motions relative to the background's, which is 0.

    A CPU computes 16 channels at a time.  Without the background ``lite.yaml`` has as many motions,
    and the occlusion is computed at four pixels at once.
    """

    def __init__(self, network: DenseMotionNetwork, precision: torch.dtype) -> None:
        super().__init__()
        self.precision, self.variance = precision, network.variance
        self.downsample = network.downsample.float()
        self.hourglass = channels_last(network.hourglass.to(precision))
        weight, bias = weight_and_bias(network.mask)
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        self.mask = convolution(weight, bias, precision)  # relative to the background
        self.occlusion = at_four(network.occlusion, precision)

    def forward(
        self, encoded: FusedEncoded, driving: Keypoints, spline: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return deformation (B, h, w, 2) and occlusion (B, 1, h, w), 1 = visible, in float32."""
        small = expand(encoded.small, len(driving.positions))
        size = small.shape[-2:]
        motions = sparse_motions(encoded.keypoints, driving, size, spline)  # (B, M, h, w, 2)
        heatmaps = motion_heatmaps(encoded.keypoints, driving, size, self.variance)
        # The motions are sampled as one field, M h high.
        candidates = sample(small, motions.flatten(1, 2), align_corners=False)
        candidates = candidates.unflatten(2, motions.shape[1:3]).transpose(1, 2)
        evidence = torch.cat([heatmaps[:, :, None], candidates], dim=2).flatten(1, 2)
        evidence = evidence.to(self.precision, memory_format=torch.channels_last)
        feature = self.hourglass(evidence)
        mask = F.pad(self.mask(feature).float(), (0, 0, 0, 0, 1, 0)).softmax(dim=1)
        # One coordinate after the other, since features are warped by maps of each.
        deformation = torch.stack([(mask * xy).sum(dim=1) for xy in motions.unbind(-1)], dim=1)
        return deformation.permute(0, 2, 3, 1), self.occlusion(feature).float().sigmoid()


class FusedMemory(nn.Module):
    """Memory compensation, with the projection P of the lacking half x composed into the rest.

        projected = P x + p
        query = attention.query(Q (P x + p) + q) = attention.query(Q P x + ...)
        difference = ReLU(D (projected - read)) = ReLU(D P x + ... - attention(D values))
        restore(difference + projected) = restore(difference) + (restore P) x + restore(p)

    So only query and difference have C channels at every position; D and the temperature act on the
    S x S values and keys of the memory instead.  The mean is taken before the projection, and all
    levels share the convolutions of the memory.
    """

    def __init__(self, network: MemoryCompensation, precision: torch.dtype, ops: Ops) -> None:
        super().__init__()
        self.precision, self.ops = precision, ops
        self.levels = nn.ModuleList(
            FusedLevel(network, level, precision, ops) for level in range(len(network.project))
        )
        self.project_mean = nn.ModuleList(map(as_linear, network.project))
        self.identity = network.identity.float()
        self.attention = network.attention.to(precision)
        self.difference = convolution(network.difference.weight, None, precision)

        bank = network.meta_memory
        modulated, dynamic = bank.modulated_conv, bank.key_value_conv
        self.bank = constant(bank.bank, precision)
        noise = bank.noise_strength * bank.fixed_noise + bank.bias[:, None, None]
        self.memory_bias = constant(noise, precision)  # (C, S, S)
        equalised = modulated.style_weight / math.sqrt(modulated.style_weight.shape[1])
        self.style = linear(equalised, modulated.style_bias)
        weight = modulated.weight / math.sqrt(modulated.weight[0].numel())
        self.filter_energy = constant(weight.square().sum(dim=(2, 3)), torch.float32)
        self.epsilon = modulated.epsilon
        self.modulated = convolution(weight, None, precision)
        self.mixture, self.kernel_temperature = dynamic.mixture.float(), dynamic.temperature
        self.kernels = constant(dynamic.weight.permute(0, 1, 3, 4, 2), precision)
        self.kernel_biases = constant(dynamic.bias, precision)

    def forward(
        self, pyramid: list[Tensor], source_keypoints: Keypoints, driving_keypoints: Keypoints
    ) -> list[Tensor]:
        """Compensate warped features (B, 2 c, H, W), kept half first, which may be overwritten."""
        batch, num_levels = len(pyramid[0]), len(pyramid)
        lacking = [warped.chunk(2, dim=1)[1] for warped in pyramid]
        means = [
            project(x.mean(dim=(2, 3), dtype=torch.float32))
            for project, x in zip(self.project_mean, lacking, strict=True)
        ]
        keypoints = Keypoints(
            *(torch.cat([expand(part, batch)] * num_levels) for part in source_keypoints)
        )
        keys, values = self.keys_and_values(torch.cat(means), keypoints)  # of all levels
        memories = zip(keys.split(batch), values.split(batch), strict=True)
        rebuilt = (
            level(x, *memory, driving_keypoints)
            for level, x, memory in zip(self.levels, lacking, memories, strict=True)
        )
        return list(map(self.ops.replace_half, pyramid, rebuilt))

    def keys_and_values(self, pooled: Tensor, keypoints: Keypoints) -> tuple[Tensor, Tensor]:
        """Map mean projected features (L B, C) to keys / t and D values, (L B, C, S, S) each."""
        style = self.style(self.identity(pooled[..., None, None], keypoints))  # (L B, C)
        demodulation = torch.rsqrt(style.square() @ self.filter_energy.T + self.epsilon)
        style, demodulation = (x.to(self.precision)[..., None, None] for x in (style, demodulation))
        memory = self.modulated((self.bank * style).contiguous(memory_format=torch.channels_last))
        memory = torch.addcmul(self.memory_bias, memory, demodulation)
        memory = F.leaky_relu(memory, negative_slope=0.2).mul_(math.sqrt(2))

        mixture = (self.mixture(pooled) / self.kernel_temperature).softmax(dim=-1)
        mixture = mixture.to(self.precision)
        kernels = torch.einsum("bn,nouvc->bouvc", mixture, self.kernels)
        convolved = self.ops.convolve_each(memory, kernels, mixture @ self.kernel_biases)
        keys, values = self.attention.keys_and_values(convolved)
        return keys / self.attention.temperature, self.difference(values)


class FusedLevel(nn.Module):
    """Compensation at one level: the compositions with its projection, and its restoration."""

    def __init__(
        self, network: MemoryCompensation, level: int, precision: torch.dtype, ops: Ops
    ) -> None:
        super().__init__()
        self.ops = ops
        w_p, p = weight_and_bias(network.project[level])
        w_q, q = weight_and_bias(network.query)
        w_d, d = weight_and_bias(network.difference)
        restore, norm, _ = network.restore[level].children()
        w_r, r = weight_and_bias(restore)
        self.attention = network.attention.to(precision)  # of all levels
        self.query = convolution(compose(w_q, w_p), w_q[:, :, 0, 0] @ p + q, precision)
        self.difference = convolution(compose(w_d, w_p), w_d[:, :, 0, 0] @ p + d, precision)
        self.restore = convolution(w_r, r, precision)
        self.restore_directly = convolution(compose(w_r, w_p), None, precision)
        # Beyond the border the projected feature is zero, and so is its bias p.
        self.restore_bias = constant(compose(w_r, p[:, None, None, None]), precision)
        self.norm = norm.float()

    def forward(
        self, lacking: Tensor, keys: Tensor, values: Tensor, driving_keypoints: Keypoints
    ) -> Tensor:
        """Rebuild the lacking half (B, c, H, W) from keys / t and D values (B, C, S, S)."""
        lacking = lacking.contiguous(memory_format=torch.channels_last)
        query = self.attention.query(self.query(lacking), driving_keypoints)
        read = self.ops.attend(query, keys, values)
        difference = self.difference(lacking).sub_(read).relu_()
        ones = lacking.new_ones(1, 1, *lacking.shape[2:])
        restored = self.restore(difference) + self.restore_directly(lacking)
        restored += F.conv2d(ones, self.restore_bias, padding=1)
        return self.ops.normalise(restored, self.norm).relu_()


def fuse_decoder(decoder: Decoder, precision: torch.dtype) -> Decoder:
    """Make the kernels of a decoder with fused norms for doubled maps once, in place.

    Unless it is very narrow it paints four neighbouring pixels at a time.
    """
    decoder.up = nn.ModuleList(map(transposed, decoder.up))
    decoder.final = at_four(decoder.final, precision)
    decoder.to(precision)
    for block in decoder.modules():
        if isinstance(block, ResidualBlock):
            block.norm1.float()  # statistics stay in float32
    return channels_last(decoder)


def at_four(conv: nn.Module, precision: torch.dtype) -> nn.Module:
    """Let a convolution compute four neighbouring pixels at a time, unless it is very narrow."""
    weight, bias = weight_and_bias(conv)
    if weight.shape[1] < CHANNELS_TO_PAINT_FOUR:
        return convolution(weight, bias, precision)
    kernels, padding = kernel_at_four(weight), weight.shape[-1] // 2
    four = convolution(kernels, bias.repeat_interleave(4), precision, stride=2, padding=padding)
    return nn.Sequential(four, SpreadFour())


class SpreadFour(nn.Module):
    """``nn.PixelShuffle(2)`` to channels first, in half the time where its input is not.

    Maps (B, 4 C, h, w) to (B, C, 2 h, 2 w).
    """

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.unflatten(1, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3)  # (B, C, h, 2, w, 2)
        return pixels.flatten(4, 5).flatten(2, 3)


def halves_apart(feature: Tensor) -> Tensor:
    """Order channels of (B, C, H, W): the even ones, which are kept, then the odd ones."""
    ordered = feature.index_select(1, halves_order(feature.shape[1]).to(feature.device))
    return ordered.contiguous(memory_format=torch.channels_last)


def transposed(block: nn.Module) -> nn.Sequential:
    """Turn an up block with a fused norm into one transposed convolution."""
    assert isinstance(block, UpBlock)
    weight, bias = weight_and_bias(block.conv)
    channels = block.conv.in_channels, block.conv.out_channels
    conv = nn.ConvTranspose2d(*channels, kernel_size=4, stride=2, padding=1)
    conv.weight, conv.bias = (constant(x, x.dtype) for x in (doubled_kernel(weight), bias))
    return nn.Sequential(conv, nn.ReLU(inplace=True))


def reorder_halves(decoder: Decoder, num_levels: int) -> None:
    """Let a decoder take its coarsest levels with the kept half of the channels first."""
    below = 0  # channels that come from the level below; the level's own follow
    stages = list(zip(decoder.residual, decoder.up, strict=True))
    for stage, up in stages[:num_levels]:
        assert isinstance(up, UpBlock)
        own = halves_order(up.conv.in_channels - below)
        order = torch.cat([torch.arange(below), below + own])
        for block in stage.children():
            assert isinstance(block, ResidualBlock)
            reorder_residual(block, order)
        up.conv.weight.data = up.conv.weight[:, order]
        below = up.conv.out_channels


def convolution(
    weight: Tensor,
    bias: Tensor | None,
    precision: torch.dtype,
    *,
    padding: int | None = None,
    stride: int = 1,
) -> nn.Conv2d:
    """Make a convolution of these weights; without a ``padding`` it keeps the size of its input."""
    out_channels, in_channels, size, _ = weight.shape
    padding = size // 2 if padding is None else padding
    conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, bias=bias is not None)
    conv.weight = constant(weight, precision)
    conv.bias = None if bias is None else constant(bias, precision)
    return channels_last(conv)


def linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Make a linear layer of these weights, in float32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (constant(x, torch.float32) for x in (weight, bias))
    return layer


def as_linear(conv: nn.Module) -> nn.Linear:
    """Turn a 1 x 1 convolution into a linear layer, for spatial means."""
    weight, bias = weight_and_bias(conv)
    return linear(weight[:, :, 0, 0], bias)


def constant(values: Tensor, precision: torch.dtype) -> nn.Parameter:
    """Make a frozen parameter, which moves with its module from device to device."""
    return nn.Parameter(values.to(precision).contiguous(), requires_grad=False)
