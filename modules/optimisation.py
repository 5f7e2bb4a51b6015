"""One optimiser step of MCNet: what it changes, on how many processes, and when it must not.

Each network has its own Adam and its own gradient clipping.  A step is a function of (seed, step),
of its batches and of the state before it; where a loss or gradient is not finite, all processes
leave that state as it was.
"""

import logging
import math
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from modules.discriminator import Discriminator
from modules.distributed import synchronise_batch_norm
from modules.errors import InputError
from modules.losses import adversarial_discriminator
from modules.objective import Draws, Objective, draw
from modules.training_config import TrainConfig

log = logging.getLogger(__name__)

Batch = tuple[Tensor, Tensor]  # this process's share: source, driving; (B, 3, H, W) in [0, 1]


class Report(NamedTuple):
    """What a step found, the same on all processes."""

    values: dict[str, float]  # weighted losses (loss/...), gradient norms before clipping
    skipped: bool
    interrupted: bool  # some process asks to stop

    @property
    def losses(self) -> dict[str, float]:
        """The loss terms by their names."""
        terms = [(name.split("/"), value) for name, value in self.values.items()]
        return {name: value for (kind, name), value in terms if kind == "loss"}


class Optimisation:
    """The networks in training, their optimisers, and the moving average of the model's weights."""

    def __init__(
        self,
        objective: Objective,
        discriminator: Discriminator | None,
        config: TrainConfig,
        seed: int,
        accelerator: Accelerator,
    ) -> None:
        self.config, self.seed, self.accelerator = config, seed, accelerator
        self.device: torch.device = accelerator.device
        networks: dict[str, nn.Module] = {"objective": objective}
        if discriminator is not None:
            networks["discriminator"] = discriminator
        for network in networks.values():
            to_device(synchronise_batch_norm(network, self.device), self.device)

        self.model, self.discriminator = objective.model, discriminator
        self.average = deepcopy(self.model).eval().requires_grad_(False)
        self.parameters = {
            "generator": [
                *self.model.generator.parameters(),
                *self.model.dense_motion.parameters(),
            ],
            "detector": list(self.model.detector.parameters()),
        }
        if discriminator is not None:
            self.parameters["discriminator"] = list(discriminator.parameters())
        self.optimisers = {
            name: torch.optim.Adam(parameters, betas=config.betas, fused=True)
            for name, parameters in self.parameters.items()
        }
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.step = 0  # optimiser steps so far, skipped ones included
        self.skipped = 0  # of them
        self.bad_in_a_row = 0

        if config.compile:
            objective.compile()
        with warnings.catch_warnings():  # of the option by which buffers are left to batch norm
            warnings.simplefilter("ignore", FutureWarning)
            self.wrapped = {
                name: accelerator.prepare_model(network) for name, network in networks.items()
            }

    def take_step(self, batches: Iterable[Batch], rate_factor: float, interrupt: bool) -> Report:
        """One step on ``config.accumulate`` batches; ``interrupt`` is told to all processes."""
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        values: dict[str, Tensor] = {}
        for index, batch in enumerate(batches):
            last = index == self.config.accumulate - 1
            for name, loss in self.accumulate_gradients(batch, index, exchange=last).items():
                mean = loss.detach().float() / self.config.accumulate
                values[f"loss/{name}"] = values.get(f"loss/{name}", 0) + mean
        for name in self.optimisers:
            values[f"gradient/{name}"] = self.clip(name)
        means, interrupted = self.agree(values, interrupt)

        bad = [name for name, mean in means.items() if not math.isfinite(mean)]
        if bad:
            self.skip(bad, statistics)
        else:
            self.update(rate_factor)
        self.scaler.update()
        for optimiser in self.optimisers.values():
            optimiser.zero_grad()
        self.step += 1
        return Report(means, skipped=bool(bad), interrupted=interrupted)

    def agree(self, values: dict[str, Tensor], interrupt: bool) -> tuple[dict[str, float], bool]:
        """Means over the processes, not finite where one of them is not; is any interrupted?"""
        flag = torch.tensor(float(interrupt), device=self.device)
        stacked = torch.stack([*values.values(), flag])
        *means, asked = self.accelerator.reduce(stacked, "mean").tolist()
        return dict(zip(values, means, strict=True)), asked > 0

    def clip(self, name: str) -> Tensor:
        """Clip the gradient of one optimiser; returns its norm before."""
        self.scaler.unscale_(self.optimisers[name])
        return nn.utils.clip_grad_norm_(self.parameters[name], self.config.clip)

    def accumulate_gradients(self, batch: Batch, index: int, exchange: bool) -> dict[str, Tensor]:
        """Add the gradients of a batch to those of the step; returns its losses.

        The processes average their gradients when they ``exchange`` them.
        """
        source, driving = (
            images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            for images in batch
        )
        draws = self.draws(len(source), index)
        share = 1 / self.config.accumulate
        with ExitStack() as stack:
            if not exchange:
                for network in self.wrapped.values():
                    stack.enter_context(self.accelerator.no_sync(network))

            if self.discriminator is not None:
                self.discriminator.requires_grad_(False)
            step = self.wrapped["objective"](source, driving, draws, self.discriminator)
            losses: dict[str, Tensor] = dict(step.losses)
            total = torch.stack(list(losses.values())).sum()
            torch.autograd.backward(self.scaler.scale(share * total))

            if self.discriminator is not None:
                self.discriminator.requires_grad_(True)
                judge = self.wrapped["discriminator"]
                positions = step.driving_keypoints.positions.detach()
                fake = judge(step.rendered.prediction.detach(), positions)
                real = judge(driving, positions)
                losses["discriminator"] = adversarial_discriminator(real, fake)
                torch.autograd.backward(self.scaler.scale(share * losses["discriminator"]))
        return losses

    def draws(self, batch_size: int, index: int) -> Draws:
        """This process's share of the draws for the ``index``-th batch of the step."""
        seed = np.random.SeedSequence([self.seed, self.step, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed[0]))
        everyones = draw(self.model, batch_size * self.accelerator.num_processes, generator)
        first = batch_size * self.accelerator.process_index
        return Draws(*(part[first : first + batch_size].to(self.device) for part in everyones))

    def update(self, rate_factor: float) -> None:
        """Let the gradients change the weights, and the weights their moving average."""
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = rate_factor * getattr(self.config.learning_rate, name)
            self.scaler.step(optimiser)
        taken = self.step - self.skipped
        warm_up = (1 + taken) / (10 + taken)  # else the start would weigh on a short run
        update_average(self.average, self.model, min(self.config.average_decay, warm_up))
        self.bad_in_a_row = 0

    def skip(self, bad: list[str], statistics: list[Tensor]) -> None:
        """Take back what the forward passes did to the batch statistics, all that has changed.

        Raises InputError where that happens too often in a row.
        """
        for buffer, before in zip(self.model.buffers(), statistics, strict=True):
            buffer.copy_(before)
        self.skipped += 1
        self.bad_in_a_row += 1
        log.warning("Step %d is skipped: %s not finite.", self.step + 1, ", ".join(bad))
        if self.bad_in_a_row >= self.config.max_bad_steps:
            raise InputError(
                f"The training stops after {self.bad_in_a_row} steps in a row without a finite "
                f"result (last: {', '.join(bad)}): lower train.learning_rate, or set "
                "train.precision=fp32."
            )

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        discriminator = self.discriminator
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "discriminator": None if discriminator is None else discriminator.state_dict(),
            "optimisers": {name: one.state_dict() for name, one in self.optimisers.items()},
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "bad_in_a_row": self.bad_in_a_row,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Undo ``state``."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.skipped = state["skipped"]
        self.bad_in_a_row = state["bad_in_a_row"]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the parameters and buffers of ``average`` towards those of ``model``."""
    averages, currents = (list(net.state_dict().values()) for net in (average, model))
    moving = [tensor.is_floating_point() for tensor in averages]
    torch._foreach_lerp_(
        [tensor for tensor, moves in zip(averages, moving, strict=True) if moves],
        [tensor for tensor, moves in zip(currents, moving, strict=True) if moves],
        1 - decay,
    )
    for mine, theirs, moves in zip(averages, currents, moving, strict=True):
        if not moves:  # the count of batches
            mine.copy_(theirs)


def to_device(network: nn.Module, device: torch.device) -> None:
    """Move a network; kernels of convolutions are laid out channels last, which is faster."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
