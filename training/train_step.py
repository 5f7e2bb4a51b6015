"""One optimizer step of MCNet: noise, forward, losses, backward, clipping, update, moving average.

Each network has its own Adam and its own gradient clipping.  A step is a function of (seed, step),
of its batches and of the state before it.  Where a loss or a gradient is not finite on any rank,
the step leaves that state as it was on all of them.

A step never waits for a GPU: whether its values are finite is decided on the GPU, and they are read
when a report is asked for.  So a step can also be recorded as a CUDA graph and replayed.
"""

import itertools
import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
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
from training.distributed import synchronise_batch_norm, wrap_ddp
from training.losses import adversarial_discriminator
from training.objective import (
    LandmarkObjective,
    LossOutput,
    Objective,
    StepNoise,
    sample_noise,
)
from utils.cuda_graph import CudaGraph
from utils.device import PRECISIONS, channels_last
from utils.errors import InputError

logger = logging.getLogger(__name__)

WARM_UP = 3  # steps before one is recorded: libraries choose kernels, Adam creates its state


class StepInputs(NamedTuple):
    """One batch of this rank, on the device, with images laid out channels last."""

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
            channels_last(synchronise_batch_norm(network, self.device).to(self.device))
        if objective.vgg is not None and config.precision != "fp32":
            # Autocast would convert the weights of a frozen network at every use.
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
        # Steps so far without the skipped ones, and skipped ones in a row
        self.good_steps, self.bad_in_a_row = torch.zeros(2, dtype=torch.long, device=self.device)
        self.names: list[str] = []  # of the values that a step returns
        self.values: list[Tensor] = []  # (names,) of every step since the last report

        if config.activation_checkpointing:
            recompute_blocks(objective)
        if config.compile:
            objective.compile()
        self.wrapped = {name: wrap_ddp(one, self.device) for name, one in networks.items()}
        self.cuda_graph = self.new_cuda_graph()

    def take_step(self, batches: Iterable[FramePairs], rate_factor: float) -> None:
        """Take one step on ``config.accumulate`` batches; ``report`` tells what it found.

        ``rate_factor`` multiplies the learning rates of the configuration.
        """
        inputs = [self.prepare(batch, index) for index, batch in enumerate(batches)]
        compute = self.cuda_graph or self.compute_step
        self.values.append(compute(inputs, rate_factor))
        self.step += 1

    def prepare(self, batch: FramePairs, index: int) -> StepInputs:
        """Copy the ``index``-th batch of the next step to the device, and sample its noise."""
        source, driving = (
            images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            for images in (batch.source, batch.driving)
        )
        landmarks = batch.landmarks.to(self.device, non_blocking=True)
        return StepInputs(
            FramePairs(source, driving, landmarks), self.step_noise(len(source), index)
        )

    def compute_step(self, inputs: list[StepInputs], rate_factor: float | Tensor) -> Tensor:
        """Compute a step on the device; returns means over the ranks of the values ``names``.

        ``rate_factor`` is a scalar on the device while the step is recorded.
        """
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        statistics = [buffer.clone() for buffer in self.model.buffers()]

        # Forward pass, losses and backward pass of each network, batch by batch
        found: dict[str, Tensor] = {}
        for index, (pairs, noise) in enumerate(inputs):
            with self.gradient_exchange(last=index == len(inputs) - 1):
                output = self.forward(pairs, noise)
                losses: dict[str, Tensor] = dict(output.losses)
                self.backward(torch.stack(list(losses.values())).sum())
                if self.discriminator is not None:
                    losses["discriminator"] = self.discriminator_loss(pairs, output)
                    self.backward(losses["discriminator"])
            observed = {f"loss/{name}": loss for name, loss in losses.items()} | output.observed
            del output  # and its features, before the next forward pass
            for name, value in observed.items():
                mean = at_least_float32(value.detach()) / self.config.accumulate
                found[name] = found.get(name, 0) + mean

        # Clip; a mean over the ranks is not finite if the value of one rank is not
        for name, optimizer in self.optimizers.items():
            self.scaler.unscale_(optimizer)
            parameters, limit = self.parameters[name], self.config.max_grad_norm
            found[f"gradient/{name}"] = nn.utils.clip_grad_norm_(parameters, limit)
        self.names = list(found)
        means: Tensor = self.accelerator.reduce(torch.stack(list(found.values())), "mean")
        bad = self.stuck | ~means.isfinite().all()

        # Update; a bad step changes no weights, and restores the batch statistics.  These are the
        # only buffers that a step changes: the discriminator and VGG-19 normalise without any.
        for name, optimizer in self.optimizers.items():
            # A learning rate that is a tensor needs capturable=True
            for group in optimizer.param_groups:
                group["lr"] = rate_factor * getattr(self.config.learning_rate, name)
                group["capturable"] = isinstance(rate_factor, Tensor)
            # Fused Adam skips its update where found_inf is 1, as GradScaler makes it do
            optimizer.found_inf = bad.to(torch.float32)  # type: ignore[attr-defined]
            optimizer.step()
        self.scaler.update()
        for buffer, before in zip(self.model.buffers(), statistics, strict=True):
            torch.where(bad, before, buffer, out=buffer)

        # Moving average; its decay begins at 0.1 and grows to ema_decay, to 0.999 in 8,990 steps,
        # so that the random weights of the start are soon forgotten
        decay = ((1 + self.good_steps) / (10 + self.good_steps)).clamp(max=self.config.ema_decay)
        update_ema(self.ema, self.model, weight=(1 - decay) * ~bad)
        self.good_steps.add_(~bad)
        self.bad_in_a_row.add_(1).mul_(bad)
        return means

    def forward(self, pairs: FramePairs, noise: StepNoise) -> LossOutput:
        """Compute the losses of the model, for which the discriminator is frozen."""
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            return self.wrapped["objective"](pairs, noise, self.discriminator)

    def discriminator_loss(self, pairs: FramePairs, output: LossOutput) -> Tensor:
        """Compute the discriminator's loss, a scalar, on real and detached generated frames."""
        assert self.discriminator is not None
        assert output.driving_keypoints is not None
        assert output.rendered is not None
        self.discriminator.requires_grad_(True)
        discriminator = self.wrapped["discriminator"]
        positions = output.driving_keypoints.positions.detach()
        with self.accelerator.autocast():
            fake = discriminator(output.rendered.prediction.detach(), positions)
            real = discriminator(pairs.driving, positions)
        return adversarial_discriminator(real, fake)

    def backward(self, loss: Tensor) -> None:
        """Backpropagate the loss of one batch, a scalar; gradients of a step's batches add up."""
        torch.autograd.backward(self.scaler.scale(1 / self.config.accumulate * loss))

    @contextmanager
    def gradient_exchange(self, last: bool) -> Iterator[None]:
        """Average the gradients over the ranks in the backward passes of the last batch only."""
        with ExitStack() as stack:
            for network in () if last else self.wrapped.values():
                stack.enter_context(self.accelerator.no_sync(network))
            yield

    def step_noise(self, batch_size: int, index: int) -> StepNoise:
        """Sample this rank's share of the noise for the ``index``-th batch of the next step."""
        seed = np.random.SeedSequence([self.seed, self.step, index]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed[0]))
        of_all = sample_noise(self.model, batch_size * self.accelerator.num_processes, generator)
        first = batch_size * self.accelerator.process_index
        parts = [part[first : first + batch_size] for part in of_all]
        if self.device.type == "cuda":
            parts = [part.pin_memory() for part in parts]  # else the copy waits for the GPU
        return StepNoise(*(part.to(self.device, non_blocking=True) for part in parts))

    def new_cuda_graph(self) -> CudaGraph | None:
        """Prepare the recording of a step where the configuration asks for it."""
        if not self.config.cuda_graph:
            return None
        if self.device.type != "cuda" or self.accelerator.num_processes > 1:
            logger.info(
                "train.cuda_graph changes nothing here: it is for one process with a CUDA GPU."
            )
            return None
        return CudaGraph(self.compute_step, WARM_UP)

    @property
    def skipped(self) -> Tensor:
        """The number of steps so far that were bad and changed nothing, a scalar."""
        return self.step - self.good_steps

    @property
    def stuck(self) -> Tensor:
        """Whether too many steps in a row were bad, a scalar: then no step changes anything."""
        return self.bad_in_a_row >= self.config.max_bad_steps

    def check(self) -> None:
        """Raise InputError if the training is stuck."""
        if self.stuck:
            self.report()

    def report(self) -> dict[str, float]:
        """Average the values of the steps since the last report, without the skipped ones.

        They are the weighted losses (loss/...), how the memory is read (memory/...) and the
        gradient norms before clipping (gradient/...), the same on all ranks.  Waits for the device
        and warns of skipped steps.  Raises InputError after ``config.max_bad_steps`` of them in a
        row.
        """
        rows = torch.stack(self.values).tolist()
        self.values.clear()
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

    def state(self) -> dict[str, Any]:
        """Collect all that a resumed training needs."""
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
        """Restore what ``state()`` returned."""
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.good_steps.fill_(state["step"] - state["skipped"])
        self.bad_in_a_row.fill_(state["bad_in_a_row"])
        self.cuda_graph = self.new_cuda_graph()  # a recording would use the memory of the old state


def trained_parts(model: MCNet, config: TrainConfig) -> dict[str, list[nn.Module]]:
    """Choose the parts of a model that are trained, by the name of their optimizer.

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
def update_ema(ema: nn.Module, model: nn.Module, weight: Tensor) -> None:
    """Move parameters and buffers of ``ema`` towards those of ``model`` by ``weight``, a scalar.

    The counts of batches become those of ``model``.
    """
    pairs = zip(ema.state_dict().values(), model.state_dict().values(), strict=True)
    for average, value in pairs:
        if average.is_floating_point():
            average.lerp_(value, weight.to(average.dtype))
        else:
            average.copy_(value)
