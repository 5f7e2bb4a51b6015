"""Section ``train`` of a configuration: how long, how fast and how carefully to optimise."""

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
    """Section ``train.learning_rate``: of Adam, for each network."""

    generator: PositiveFloat = 2e-4
    detector: NonNegativeFloat = 2e-4  # 0 freezes it: it stays as the checkpoint has it
    discriminator: PositiveFloat = 2e-4
    landmark_detector: PositiveFloat = 2e-3  # where this is what is trained


class TrainConfig(Section):
    """Section ``train``; intervals count optimizer steps."""

    # The landmark detector is trained first, with labels, and is frozen while the rest learns
    network: Literal["all", "landmark detector"] = "all"
    epochs: PositiveInt = 100
    max_steps: PositiveInt | None = None  # ends the training before its epochs do
    batch_size: PositiveInt = 8  # pairs in one forward pass of one process
    accumulate: PositiveInt = 1  # forward passes whose gradients make one step

    learning_rate: LearningRates = LearningRates()
    betas: tuple[Decay, Decay] = (0.5, 0.999)
    max_grad_norm: PositiveFloat = 10.0  # largest gradient norm of a network
    milestones: tuple[PositiveInt, ...] = (60, 90)  # epochs at which the rates fall
    gamma: PositiveFloat = 0.1  # factor by which they fall
    warm_up: NonNegativeInt = 0  # steps in which the rates rise from 0
    cosine: bool = False  # the rates fall to 0 by a cosine at the last step, milestones besides
    ema_decay: Decay = 0.999  # of the moving average of the weights, reached by a warm-up

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    tf32: bool = True  # on CUDA, for what is computed in float32
    compile: bool = False
    cuda_graph: bool = False  # one process with a GPU: record a step's kernels, and replay them
    activation_checkpointing: bool = (
        False  # compute activations again in the backward pass: less memory
    )
    workers: NonNegativeInt = 4  # processes that load the data of one training process

    log_every: PositiveInt = 50
    grid_every: PositiveInt = 1000
    save_every: PositiveInt = 1000
    validate_every: PositiveInt = 1000
    validation_pairs: PositiveInt = 64
    keep_last: PositiveInt = 3  # checkpoints; the best weights by validation are kept besides
    max_bad_steps: PositiveInt = 10  # steps in a row without a finite loss and gradient

    @model_validator(mode="after")
    def recomputes_in_one_way(self) -> "TrainConfig":
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "compile and activation_checkpointing are both on, but a compiled step decides "
                "itself what to compute again: switch one of them off"
            )
        return self

    @model_validator(mode="after")
    def records_plain_steps(self) -> "TrainConfig":
        others = {
            "compile": self.compile,
            "activation_checkpointing": self.activation_checkpointing,
            "precision=fp16": self.precision == "fp16",
        }
        for name, chosen in others.items():
            if self.cuda_graph and chosen:
                raise ValueError(f"cuda_graph and {name} exclude each other: leave one of them out")
        return self
