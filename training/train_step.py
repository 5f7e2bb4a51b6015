"""One optimizer step of MCNet: what it changes, on how many processes, and when it must not.

Each network has its own Adam and its own gradient clipping.  A step is a function of (seed, step),
of its batches and of the state before it; where a loss or gradient is not finite, all processes
leave that state as it was.

A step never waits for a GPU: whether it is finite is found out and acted upon there, and what it
found is looked at when a report is asked for.  So all that a step computes from its inputs can also
be recorded once and replayed.
"""

import itertools
import logging
import math
from collections.abc import Iterable
from contextlib import ExitStack
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from datasets.frame_pairs import FramePairs
from modules.discriminator import Discriminator
from modules.geometry import at_least_float32
from modules.mcnet import MCNet
from training.activation_checkpointing import recompute_blocks
from training.config import TrainConfig
from training.distributed import over_processes, synchronise_batch_norm
from training.losses import adversarial_discriminator
from training.objective import LandmarkObjective, Objective, StepNoise, sample_noise
from utils.device import PRECISIONS
from utils.errors import InputError
from utils.recorded_step import RecordedStep

logger = logging.getLogger(__name__)


class Inputs(NamedTuple):
    """A batch of this process as a step takes it: on the device, images laid out channels last."""

    pairs: FramePairs
    noise: StepNoise


class TrainStep:
    """The networks in training, their optimizers, and the moving average of the model's weights."""

    def __init__(
        self,
        objective: Objective | LandmarkObjective,
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
        if objective.vgg is not None and config.precision != "fp32":
            # It is frozen, and such weights autocast would convert at every use.
            objective.vgg.layers.to(PRECISIONS[config.precision])

        self.model, self.discriminator = objective.model, discriminator
        self.ema = deepcopy(self.model).eval().requires_grad_(False)
        trained = trained_parts(self.model, config)
        if discriminator is not None:
            trained["discriminator"] = [discriminator]
        self.model.eval().requires_grad_(False)
        for part in itertools.chain(*trained.values()):
            part.train().requires_grad_(True)
        self.parameters = {
            name: [parameter for part in parts for parameter in part.parameters()]
            for name, parts in trained.items()
        }
        self.optimizers = {
            name: torch.optim.Adam(parameters, betas=config.betas, fused=True)
            for name, parameters in self.parameters.items()
        }
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.step = 0  # optimizer steps so far, skipped ones included
        self.taken = torch.tensor(0, device=self.device)  # of them, skipped ones left out
        self.bad_in_a_row = torch.tensor(0, device=self.device)
        self.names: list[str] = []  # of the values that a step finds
        self.found: list[Tensor] = []  # these values, of every step since the last report

        if config.activation_checkpointing:
            recompute_blocks(objective)
        if config.compile:
            objective.compile()
        self.wrapped = {name: over_processes(one, self.device) for name, one in networks.items()}
        self.cuda_graph = self.start_recording()

    def start_recording(self) -> RecordedStep | None:
        """Where the recording of a step will be, if there is to be one."""
        if not self.config.cuda_graph:
            return None
        if self.device.type != "cuda" or self.accelerator.num_processes > 1:
            logger.info(
                "train.cuda_graph changes nothing here: it is for one process with a CUDA GPU."
            )
            return None
        return RecordedStep(self.device)

    @property
    def skipped(self) -> Tensor:
        """How many steps so far were bad and changed nothing."""
        return self.step - self.taken

    def take_step(self, batches: Iterable[FramePairs], rate_factor: float) -> None:
        """One step on ``config.accumulate`` batches; what it found is in the next ``report``."""
        inputs = [self.prepare(batch, index) for index, batch in enumerate(batches)]
        if self.cuda_graph is None:
            means = self.compute_step(inputs, rate_factor)
        else:
            means = self.cuda_graph.take(self.compute_step, inputs, rate_factor)
        self.found.append(means)
        self.step += 1

    def prepare(self, batch: FramePairs, index: int) -> Inputs:
        """The ``index``-th batch of the next step on the device, which is not waited for."""
        source, driving = (
            images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            for images in (batch.source, batch.driving)
        )
        landmarks = batch.landmarks.to(self.device, non_blocking=True)
        return Inputs(FramePairs(source, driving, landmarks), self.noise(len(source), index))

    def compute_step(self, inputs: list[Inputs], rate_factor: float | Tensor) -> Tensor:
        """All that a step does on the device; returns the means of what it found, (names,).

        ``rate_factor`` is a scalar on the device where the step is being recorded.
        """
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        statistics = [buffer.clone() for buffer in self.model.buffers()]
        values: dict[str, Tensor] = {}
        for index, batch in enumerate(inputs):
            last = index == self.config.accumulate - 1
            for name, value in self.accumulate_gradients(batch, exchange=last).items():
                mean = at_least_float32(value.detach()) / self.config.accumulate
                values[name] = values.get(name, 0) + mean
        for name in self.optimizers:
            values[f"gradient/{name}"] = self.clip_gradient(name)
        # Means over the processes: not finite where one of them is not.
        means: Tensor = self.accelerator.reduce(torch.stack(list(values.values())), "mean")
        self.names = list(values)
        self.update(rate_factor, statistics, bad=self.stuck | ~means.isfinite().all())
        self.scaler.update()
        return means

    def clip_gradient(self, name: str) -> Tensor:
        """Clip the gradient of one optimizer; returns its norm before."""
        self.scaler.unscale_(self.optimizers[name])
        return nn.utils.clip_grad_norm_(self.parameters[name], self.config.max_grad_norm)

    @torch.no_grad()
    def update(self, rate_factor: float | Tensor, statistics: list[Tensor], bad: Tensor) -> None:
        """Let the gradients change the weights, and the weights their moving average.

        A ``bad`` step (a scalar on the device) changes neither, and takes the batch statistics
        back to what they were before the forward passes: nothing else has changed by then.
        """
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rate_factor * getattr(self.config.learning_rate, name)
                group["capturable"] = isinstance(rate_factor, Tensor)  # fused Adam is, if told so
            found_inf = bad.to(torch.float32)
            optimizer.found_inf = found_inf  # type: ignore[attr-defined]  # as a GradScaler would
            optimizer.step()
        for buffer, before in zip(self.model.buffers(), statistics, strict=True):
            torch.where(bad, before, buffer, out=buffer)

        warm_up = (1 + self.taken) / (10 + self.taken)  # else the start would weigh on a short run
        decay = warm_up.clamp(max=self.config.ema_decay)
        update_ema(self.ema, self.model, weight=(1 - decay) * ~bad)
        self.taken.add_(~bad)
        self.bad_in_a_row.add_(1).mul_(bad)

    def report(self) -> dict[str, float]:
        """Means over the steps since the last report, skipped ones left out.

        Of the weighted losses (loss/...), of how the memory is read (memory/...) and of the
        gradient norms before clipping (gradient/...); the same on all processes.  Waits for the
        device.  Skipped steps are warned of; raises InputError after ``config.max_bad_steps`` of
        them in a row.
        """
        rows = torch.stack(self.found).tolist()
        self.found.clear()
        good, last_bad = [], ""
        for step, row in enumerate(rows, start=self.step - len(rows) + 1):
            bad = [name for name, x in zip(self.names, row, strict=True) if not math.isfinite(x)]
            if bad:
                last_bad = ", ".join(bad)
                logger.warning("Step %d is skipped: %s not finite.", step, last_bad)
            else:
                good.append(row)
        if self.stuck:
            raise InputError(
                f"The training stops after {self.config.max_bad_steps} steps in a row without a "
                f"finite result (last: {last_bad}): lower train.learning_rate, or set "
                "train.precision=fp32."
            )
        columns = zip(self.names, zip(*good, strict=True), strict=False)
        return {name: sum(values) / len(good) for name, values in columns}

    @property
    def stuck(self) -> Tensor:
        """Whether too many steps in a row were bad: then none changes anything any more."""
        return self.bad_in_a_row >= self.config.max_bad_steps

    def check(self) -> None:
        """Report, and so raise InputError, if the training is stuck."""
        if self.stuck:
            self.report()

    def accumulate_gradients(self, inputs: Inputs, exchange: bool) -> dict[str, Tensor]:
        """Add the gradients of a batch to those of the step; returns what it found, to be logged.

        The processes average their gradients when they ``exchange`` them.
        """
        pairs, noise = inputs
        share = 1 / self.config.accumulate
        with ExitStack() as stack:
            if not exchange:
                for network in self.wrapped.values():
                    stack.enter_context(self.accelerator.no_sync(network))

            if self.discriminator is not None:
                self.discriminator.requires_grad_(False)
            with self.accelerator.autocast():
                step = self.wrapped["objective"](pairs, noise, self.discriminator)
            losses: dict[str, Tensor] = dict(step.losses)
            total = torch.stack(list(losses.values())).sum()
            torch.autograd.backward(self.scaler.scale(share * total))

            if self.discriminator is not None:
                self.discriminator.requires_grad_(True)
                judge = self.wrapped["discriminator"]
                positions = step.driving_keypoints.positions.detach()
                with self.accelerator.autocast():
                    fake = judge(step.rendered.prediction.detach(), positions)
                    real = judge(pairs.driving, positions)
                losses["discriminator"] = adversarial_discriminator(real, fake)
                torch.autograd.backward(self.scaler.scale(share * losses["discriminator"]))
        return {f"loss/{name}": loss for name, loss in losses.items()} | step.observed

    def noise(self, batch_size: int, index: int) -> StepNoise:
        """This process's share of the noise for the ``index``-th batch of the step."""
        seed = np.random.SeedSequence([self.seed, self.step, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed[0]))
        everyones = sample_noise(self.model, batch_size * self.accelerator.num_processes, generator)
        first = batch_size * self.accelerator.process_index
        return StepNoise(*(self.upload(part[first : first + batch_size]) for part in everyones))

    def upload(self, tensor: Tensor) -> Tensor:
        """A tensor on the device, which is not waited for."""
        pinned = tensor.pin_memory() if self.device.type == "cuda" else tensor
        return pinned.to(self.device, non_blocking=True)

    def state(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        discriminator = self.discriminator
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "discriminator": None if discriminator is None else discriminator.state_dict(),
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": int(self.skipped),
            "bad_in_a_row": int(self.bad_in_a_row),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Undo ``state``."""
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.taken.fill_(state["step"] - state["skipped"])
        self.bad_in_a_row.fill_(state["bad_in_a_row"])
        self.cuda_graph = self.start_recording()  # Adam's state lies elsewhere now


def trained_parts(model: MCNet, config: TrainConfig) -> dict[str, list[nn.Module]]:
    """The parts of a model that are trained, by the name of their optimizer; others are frozen.

    Raises InputError where a landmark detector is to be trained and the model has none.
    """
    if config.network == "landmark detector":
        if model.landmark_detector is None:
            raise InputError(
                "train.network is the landmark detector, and the network has none: set "
                "model.landmark_detector."
            )
        return {"landmark_detector": [model.landmark_detector]}
    parts: dict[str, list[nn.Module]] = {"generator": [model.generator, model.dense_motion]}
    if config.learning_rate.detector > 0:
        parts["detector"] = [model.detector]
    return parts


@torch.no_grad()
def update_ema(average: nn.Module, model: nn.Module, weight: Tensor) -> None:
    """Move the parameters and buffers of ``average`` towards those of ``model``, or not: weight 0.

    The counts of batches become those of ``model``.
    """
    states = (network.state_dict().values() for network in (average, model))
    for mine, theirs in zip(*states, strict=True):
        if mine.is_floating_point():
            mine.lerp_(theirs, weight.to(mine.dtype))
        else:
            mine.copy_(theirs)


def to_device(network: nn.Module, device: torch.device) -> None:
    """Move a network; kernels of convolutions are laid out channels last, which is faster."""
    network.to(device)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
