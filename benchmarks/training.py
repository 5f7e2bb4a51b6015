"""Samples per second and memory of the training step, compared with a plain float32 one."""

from collections.abc import Sequence
from contextlib import nullcontext
from copy import copy
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.counting import count_flops
from benchmarks.plain import plain_network, with_default_kernels
from benchmarks.processes import peaks_of
from benchmarks.report import BenchmarkResult, BenchmarkTable, Row, Value, describe_hardware
from benchmarks.target import SEED, BenchmarkTarget
from benchmarks.timing import Spread, time_interleaved
from config import Config, load_config
from datasets.frame_pairs import FramePairs, unlabelled
from modules.discriminator import Discriminator
from modules.mcnet import MCNet
from training.distributed import start_processes
from training.objective import Objective
from training.train_step import TrainStep
from utils.errors import InputError

# Settings of section ``train`` that differ from the configured ones.
PLAIN = "plain"
EAGER = {"compile": False, "cuda_graph": False}
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: EAGER | {"precision": "fp32", "activation_checkpointing": False},
    "as configured": {},
    "activation checkpointing": EAGER | {"activation_checkpointing": True},
}
NOTE = (
    "The plain step trains the plain network in float32 with PyTorch's default kernels; its "
    "operations, backward pass included, are counted for all. Memory is that of a process of its "
    "own that takes the first step, which creates Adam's state."
)


def training_config(name: str, batch_size: int | None, overrides: Sequence[str]) -> Config:
    """Load the configuration of a run whose steps are one batch each.

    Random weights of VGG-19, unless an override names others, cost as much as trained ones.
    """
    changes = ["loss.vgg=random", *overrides, "train.accumulate=1"]
    if batch_size is not None:
        changes.append(f"train.batch_size={batch_size}")
    return load_config(name, changes)


def variant_of(config: Config, name: str) -> Config:
    """The configuration of a variant."""
    train = config.train.model_copy(update=VARIANTS[name])
    return config.model_copy(update={"train": train})


class VariantTrainer:
    """A trainer of one variant, on the same random weights and pairs as any other."""

    def __init__(self, config: Config, variant: str, accelerator: Any) -> None:
        """``config`` is that of the variant."""
        torch.manual_seed(SEED)
        model, discriminator = MCNet(config.model), None
        if config.loss.adversarial > 0:
            discriminator = Discriminator(config.discriminator, config.model.num_kp)
        objective = Objective(model, config.loss)
        self.plain = variant == PLAIN
        if self.plain:
            plain_network(objective)
            accelerator = copy(accelerator)  # a process has one setting of autocast
            accelerator.autocast = nullcontext
        self.train_step = TrainStep(objective, discriminator, config.train, SEED, accelerator)
        self.batch = random_batch(config, accelerator.device)

    def step(self) -> None:
        """Take one optimizer step."""
        step = partial(self.train_step.take_step, [self.batch], rate_factor=1.0)
        with_default_kernels(step) if self.plain else step()


def random_batch(config: Config, device: torch.device) -> FramePairs:
    """Pairs as they come from the loader, (B, 3, H, W) in [0, 1] each."""
    pictures = BenchmarkTarget(config, torch.device("cpu")).pictures(2 * config.train.batch_size)
    return unlabelled(*(pictures.pin_memory() if device.type == "cuda" else pictures).chunk(2))


def benchmark(config: Config, device: torch.device, seconds: float) -> BenchmarkResult:
    """Time the variants in turn, and measure the memory of each.

    Raises InputError where training would choose another device.
    """
    accelerator = start_processes(config.train)
    if accelerator.device.type != device.type:
        raise InputError(
            f"Training takes the device {accelerator.device.type} here, not {device.type}: leave "
            'the option --device out (CUDA_VISIBLE_DEVICES="" hides the GPUs from it).'
        )
    variants = {name: variant_of(config, name) for name in VARIANTS}
    trainers = {name: VariantTrainer(one, name, accelerator) for name, one in variants.items()}
    flops = count_flops(trainers[PLAIN].step)
    times = time_interleaved({n: one.step for n, one in trainers.items()}, seconds, device)
    del trainers
    rows: list[Row] = []
    for name, one in variants.items():
        median = float(np.median(times[name]))
        rows.append(
            {
                "training": name,
                "precision": one.train.precision,
                "ms per step": Spread.of(1e3 * times[name]),
                "samples/s": config.train.batch_size / median,
                "speed-up over plain": float(np.median(times[PLAIN])) / median,
                "GFLOP per sample": flops / config.train.batch_size / 1e9,
                "TFLOP/s": flops / median / 1e12,
                **peaks_of(first_step, one, name),
            }
        )
    settings: dict[str, Value] = {
        **BenchmarkTarget(config, device).settings,
        "batch": config.train.batch_size,
        "precision": config.train.precision,
        "VGG-19": config.loss.vgg,
    }
    return BenchmarkResult(
        benchmark="training",
        settings=settings,
        hardware=describe_hardware(device),
        tables=[BenchmarkTable(title="Training steps", rows=rows, note=NOTE)],
    )


def first_step(config: Config, variant: str) -> None:
    """Take one step of a new trainer."""
    VariantTrainer(config, variant, start_processes(config.train)).step()
