"""Augmentation of a pair: one draw for both frames."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from modules.section import Section

Strength = Annotated[float, Field(ge=0, le=0.5)]


class AugmentationConfig(Section):
    """Section ``data.augmentation``; the strengths are those of the published recipe."""

    horizontal_flip: bool = True
    time_flip: bool = True  # exchanges source and driving
    brightness: Strength = 0.1  # factor drawn from [1 - b, 1 + b]; contrast, saturation alike
    contrast: Strength = 0.1
    saturation: Strength = 0.1
    hue: Strength = 0.1  # shift drawn from [-hue, hue], in turns of the colour wheel


def augment(
    source: Tensor, driving: Tensor, config: AugmentationConfig, draws: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """The pair, (3, H, W) in [0, 1] each, flipped in space and in time and with other colours."""
    pair = torch.stack([source, driving])
    mirror, exchange = draws.random(2) < 0.5
    if config.horizontal_flip and mirror:
        pair = pair.flip(-1)
    if config.time_flip and exchange:
        pair = pair.flip(0)
    source, driving = jitter(pair, config, draws)
    return source, driving


def jitter(images: Tensor, config: AugmentationConfig, draws: np.random.Generator) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] in other colours: one draw for all, its steps in any order."""
    steps = (
        (F.adjust_brightness, 1.0, config.brightness),
        (F.adjust_contrast, 1.0, config.contrast),
        (F.adjust_saturation, 1.0, config.saturation),
        (shift_hue, 0.0, config.hue),
    )
    amounts = draws.uniform(-1, 1, size=len(steps))
    for step in draws.permutation(len(steps)):
        adjust, neutral, strength = steps[step]
        if strength > 0:
            images = adjust(images, neutral + strength * amounts[step])
    return images


def shift_hue(images: Tensor, turns: float) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] with the colour wheel turned; value and saturation stay.

    What torchvision's ``adjust_hue`` computes, in a quarter of its time: with the hue h in sixths
    of a turn, red, green and blue are

        minimum + chroma * clamp(|(h + 6 turns + (0, 4, 2)) mod 6 - 3| - 1, 0, 1)
    """
    red, green, blue = images.unbind(1)
    maximum, minimum = images.amax(1), images.amin(1)
    chroma = maximum - minimum
    divisor = chroma.clamp(min=1e-8)
    hue = torch.where(
        maximum == red,
        (green - blue) / divisor,
        torch.where(maximum == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    offsets = images.new_tensor([0.0, 4.0, 2.0]) + 6 * turns
    wheel = hue[:, None] + offsets[:, None, None]  # (B, 3, H, W)
    wheel -= 6 * (wheel / 6).floor_()  # "%" is several times slower
    return minimum[:, None] + chroma[:, None] * wheel.sub_(3).abs_().sub_(1).clamp_(0, 1)
