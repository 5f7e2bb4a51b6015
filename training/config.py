"""Section ``train`` of a configuration: schedule, optimizers, precision, checks and logging."""

import math
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from utils.section import Section

Decay = Annotated[float, Field(ge=0, lt=1)]


class LearningRates(Section):
    """Section ``train.learning_rate``: Adam's learning rate for each network."""

    generator: PositiveFloat = 2e-4
    detector: NonNegativeFloat = 2e-4  # 0 freezes the detector as the checkpoint has it
    discriminator: PositiveFloat = 2e-4
    landmark_detector: PositiveFloat = 2e-3  # where it is what is trained


class TrainConfig(Section):
    """Section ``train``; intervals count optimizer steps."""

    # The landmark detector is trained first, with labels, and is frozen in the training of the rest
    network: Literal["all", "landmark detector"] = "all"
    epochs: PositiveInt = 100
    max_steps: PositiveInt | None = None  # ends the training before its epochs do
    batch_size: PositiveInt = 8  # pairs in one forward pass of one process
    accumulate: PositiveInt = 1  # forward passes whose gradients make one step

    learning_rate: LearningRates = LearningRates()
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    max_grad_norm: PositiveFloat = 10.0  # gradients of a network are clipped to this norm
    milestones: tuple[PositiveInt, ...] = (60, 90)  # epochs at which the rates fall
    gamma: PositiveFloat = 0.1  # factor by which they fall
    warm_up: NonNegativeInt = 0  # steps in which the rates rise linearly from 0
    cosine: bool = False  # the rates also fall to 0 at the last step, by a cosine
    ema_decay: Decay = 0.999  # of the moving average of the weights; smaller at the start

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    tf32: bool = True  # on CUDA, for convolutions in float32
    compile: bool = False
    cuda_graph: bool = False  # record the kernels of a step, and replay them: one process and GPU
    activation_checkpointing: bool = False  # recompute activations in the backward pass
    workers: NonNegativeInt = 4  # processes that load the data of one training process

    log_every: PositiveInt = 50
    grid_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    validate_every: PositiveInt = 1000
    validation_pairs: PositiveInt = 64
    keep_last: PositiveInt = 3  # checkpoints; the best weights by validation are kept besides
    max_bad_steps: PositiveInt = 10  # in a row, without a finite loss and gradient: then it stops

    @model_validator(mode="after")
    def options_go_together(self) -> "TrainConfig":
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "compile and activation_checkpointing are both on, but a compiled step decides "
                "itself what to compute again: switch one of them off"
            )
        others = {
            "compile": self.compile,
            "activation_checkpointing": self.activation_checkpointing,
            "precision=fp16": self.precision == "fp16",
        }
        for name, chosen in others.items():
            if self.cuda_graph and chosen:
                raise ValueError(f"cuda_graph and {name} exclude each other: leave one of them out")
        return self


def rate_factor(config: TrainConfig, step: int, epoch: int, num_steps: int) -> float:
    """Compute the factor of the learning rates at ``step``, from 0, of ``num_steps``."""
    factor = config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    if step < config.warm_up:
        factor *= (step + 1) / config.warm_up
    if config.cosine:
        factor *= (1 + math.cos(math.pi * step / num_steps)) / 2
    return factor
