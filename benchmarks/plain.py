"""The plain forms that every figure is held against, written for clarity alone.

Float32, channels first, every frame in full, every convolution as it is defined, every parameter
and every loss by itself; with the kernels that PyTorch takes unasked.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.hardware import Kernels, with_kernels
from datasets.frame_pairs import FramePairs
from modules.blocks import SameBlock, UpBlock
from modules.discriminator import Discriminator
from modules.mcnet import MCNet
from training.config import TrainConfig
from training.losses import adversarial_discriminator
from training.objective import Objective, StepNoise

Result = TypeVar("Result")
Network = TypeVar("Network", bound=nn.Module)


def with_default_kernels(call: Callable[[], Result]) -> Result:
    """The result of a call with PyTorch's own choice of kernels, whatever a fast path has set."""
    return with_kernels(Kernels(), call)


class PlainUpBlock(UpBlock):
    """An up block as it is defined: the doubled image is made, and convolved."""

    def forward(self, x: Tensor) -> Tensor:
        return SameBlock.forward(self, F.interpolate(x, scale_factor=2.0, mode="nearest"))


def plain_form(network: Network) -> Network:
    """A network, with nothing left of the arithmetic that its modules save."""
    for module in network.modules():
        if type(module) is UpBlock:
            module.__class__ = PlainUpBlock
    return network


def plain_frame(model: MCNet, source: Tensor, driving: Tensor) -> Tensor:
    """The prediction for one driving frame, everything computed: (1, 3, H, W) in [0, 1]."""
    with torch.inference_mode():
        return with_default_kernels(lambda: model(source, driving).prediction)


class PlainTraining:
    """The training step of ``TrainStep``, with one process and one batch."""

    def __init__(
        self, objective: Objective, discriminator: Discriminator | None, config: TrainConfig
    ) -> None:
        self.objective, self.discriminator, self.config = objective, discriminator, config
        self.device = next(objective.parameters()).device
        model = objective.model
        self.networks: dict[str, list[nn.Parameter]] = {
            "generator": [*model.generator.parameters(), *model.dense_motion.parameters()],
            "detector": [*model.detector.parameters()],
        }
        if discriminator is not None:
            self.networks["discriminator"] = [*discriminator.parameters()]
        self.optimizers = [
            torch.optim.Adam(
                parameters,
                lr=getattr(config.learning_rate, name),
                betas=config.betas,
                foreach=False,
                fused=False,
            )
            for name, parameters in self.networks.items()
        ]
        self.ema = {name: value.clone() for name, value in model.state_dict().items()}
        self.steps = 0

    def take_step(self, pairs: FramePairs, noise: StepNoise) -> dict[str, float]:
        """One step on pairs of frames; returns the weighted losses."""
        pairs = FramePairs(*(part.to(self.device) for part in pairs))
        noise = StepNoise(*(part.to(self.device) for part in noise))
        step = self.objective(pairs, noise, self.discriminator)
        losses: dict[str, Tensor] = dict(step.losses)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        if self.discriminator is not None:
            self.discriminator.zero_grad()  # what the generator's losses left there
            positions = step.driving_keypoints.positions.detach()
            fake = self.discriminator(step.rendered.prediction.detach(), positions)
            real = self.discriminator(pairs.driving, positions)
            losses["discriminator"] = adversarial_discriminator(real, fake)
            torch.autograd.backward(losses["discriminator"])
        for parameters in self.networks.values():
            nn.utils.clip_grad_norm_(parameters, self.config.max_grad_norm, foreach=False)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.update_ema()
        return {name: loss.item() for name, loss in losses.items()}

    @torch.no_grad()
    def update_ema(self) -> None:
        """Move the average of the weights towards those of the network."""
        decay = min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self.objective.model.state_dict().items():
            if value.is_floating_point():
                self.ema[name] = decay * self.ema[name] + (1 - decay) * value
            else:
                self.ema[name] = value.clone()
        self.steps += 1
