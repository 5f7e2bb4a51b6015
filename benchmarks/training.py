"""Samples a second of the training step against a plain one of the same objective."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from accelerate import Accelerator

from benchmarks.counting import counter
from benchmarks.hardware import Peaks, arithmetic, describe, measure_peaks, peak_table
from benchmarks.plain import PlainTraining, plain_form, with_default_kernels
from benchmarks.processes import memory_columns, usage_of
from benchmarks.report import Result, Row, Table, Value
from benchmarks.target import SEED, BenchmarkTarget
from benchmarks.timing import Call, take_turns
from config import Config, load_config
from datasets.frame_pairs import FramePairs, unlabelled
from modules.discriminator import Discriminator
from modules.mcnet import MCNet
from training.config import TrainConfig
from training.distributed import start_processes
from training.objective import Objective, sample_noise
from training.train_step import TrainStep
from utils.device import PRECISIONS
from utils.errors import InputError

Variant = Literal["plain", "ours", "ours, activation_checkpointing"]
WAYS: tuple[Variant, ...] = get_args(Variant)
PLAIN_NOTE = (
    "The plain step computes the same objective in float32, channels first, with an optimizer "
    "that goes from parameter to parameter. The share of the peak counts the operations of the "
    "plain step, backward pass included."
)
PARTS_NOTE = (
    "Of the training step above: the backward pass is what gradients take more than the losses, "
    "the optimizer (with clipping and moving average) what a step takes more than gradients."
)
MEMORY_NOTE = (
    "Each way takes one step in a process of its own, the first, which fills Adam's state."
)


def training_config(name: str, batch_size: int | None, overrides: Sequence[str]) -> Config:
    """The configuration of a run whose steps are one batch each.

    Random weights of VGG-19, unless an override names others, cost as much as trained ones.
    """
    changes = ["loss.vgg=random", *overrides, "train.accumulate=1"]
    if batch_size is not None:
        changes.append(f"train.batch_size={batch_size}")
    return load_config(name, changes)


class Networks(NamedTuple):
    """What is trained, before the first step."""

    objective: Objective
    discriminator: Discriminator | None


def build(config: Config) -> Networks:
    """Networks with random weights, always the same."""
    torch.manual_seed(SEED)
    model, discriminator = MCNet(config.model), None
    if config.loss.adversarial > 0:
        discriminator = Discriminator(config.discriminator, config.model.num_kp)
    return Networks(Objective(model, config.loss), discriminator)


def start(config: Config, accelerator: Accelerator) -> TrainStep:
    """The training as train.py sets it up."""
    return TrainStep(*build(config), config.train, SEED, accelerator)


def start_plain(config: Config, device: torch.device) -> PlainTraining:
    """The plain training of the same networks."""
    objective, discriminator = build(config)
    return PlainTraining(
        plain_form(objective).to(device),
        None if discriminator is None else discriminator.to(device),
        config.train,
    )


def benchmark(config: Config, device: torch.device, seconds: float) -> Result:
    """Both trainings in turn, the parts of ours, and what each holds in memory.

    Raises InputError where training would choose another device.
    """
    accelerator = start_processes(config.train)
    if accelerator.device.type != device.type:
        raise InputError(
            f"Training takes the device {accelerator.device.type} here, not {device.type}: leave "
            'the option --device out (CUDA_VISIBLE_DEVICES="" hides the GPUs from it).'
        )
    peaks = measure_peaks(device, arithmetics(config.train, device), seconds / 5)
    batch = random_batch(config, device)
    plain, training = start_plain(config, device), start(config, accelerator)
    tables = [
        peak_table(peaks),
        speed_table(plain, training, batch, peaks, seconds),
        parts_table(training, batch, seconds),
    ]
    del plain, training
    tables.append(memory_table(config))
    settings: dict[str, Value] = {
        **BenchmarkTarget(config, device).settings,
        "batch": config.train.batch_size,
        "precision": config.train.precision,
        "VGG-19": config.loss.vgg,
    }
    hardware = describe(device)
    return Result(benchmark="training", settings=settings, hardware=hardware, tables=tables)


def arithmetics(config: TrainConfig, device: torch.device) -> list[str]:
    """That of the plain training and that of ours."""
    return [
        arithmetic(torch.float32, device, tf32=True),
        arithmetic(PRECISIONS[config.precision], device, config.tf32),
    ]


def random_batch(config: Config, device: torch.device) -> FramePairs:
    """Pairs as they come from the loader."""
    pictures = BenchmarkTarget(config, torch.device("cpu")).pictures(2 * config.train.batch_size)
    return unlabelled(*(pictures.pin_memory() if device.type == "cuda" else pictures).chunk(2))


def plain_step(plain: PlainTraining, batch: FramePairs) -> dict[str, float]:
    generator = torch.Generator().manual_seed(plain.steps)
    noise = sample_noise(plain.objective.model, len(batch.source), generator)
    return with_default_kernels(partial(plain.take_step, batch, noise))


def training_step(training: TrainStep, batch: FramePairs) -> None:
    training.take_step([batch], rate_factor=1.0)


def speed_table(
    plain: PlainTraining, training: TrainStep, batch: FramePairs, peaks: Peaks, seconds: float
) -> Table:
    """Time of a step, ratio, share of the peak."""
    with counter() as counted:
        plain_step(plain, batch)
    flops, batch_size = counted.get_total_flops(), len(batch.source)
    calls: dict[str, Call] = {
        "plain": partial(plain_step, plain, batch),
        "ours": partial(training_step, training, batch),
    }
    took = take_turns(calls, seconds, training.device)
    rows: list[Row] = []
    for name, used in zip(calls, arithmetics(training.config, training.device), strict=True):
        median, peak = took[name].median, peaks[used].flops
        rows.append(
            {
                "training": name,
                "arithmetic": used,
                "ms a step": took[name].times(1e3),
                "samples/s": batch_size / median,
                "times the plain": took["plain"].median / median,
                "GFLOP a sample": flops / batch_size / 1e9,
                "of the peak, %": 100 * flops / median / peak,
            }
        )
    return Table(title="Training steps", rows=rows, note=PLAIN_NOTE)


def parts_table(training: TrainStep, batch: FramePairs, seconds: float) -> Table:
    """Forward pass, backward pass and optimizer, from what nested calls take."""
    calls: dict[str, Call] = {
        "losses": partial(losses, training, batch),
        "gradients": partial(gradients, training, batch),
        "step": partial(training_step, training, batch),
    }
    took = {name: s.median for name, s in take_turns(calls, seconds, training.device).items()}
    parts = {
        "forward": took["losses"],
        "backward": took["gradients"] - took["losses"],
        "optimizer": took["step"] - took["gradients"],
    }
    rows: list[Row] = [
        {"part": part, "ms": 1e3 * time, "of the step, %": 100 * time / took["step"]}
        for part, time in parts.items()
    ]
    return Table(title="Parts of a training step", rows=rows, note=PARTS_NOTE)


def losses(training: TrainStep, batch: FramePairs) -> object:
    """The forward pass of a step."""
    inputs = training.prepare(batch, 0)
    with training.accelerator.autocast():
        return training.wrapped["objective"](*inputs, training.discriminator)


def gradients(training: TrainStep, batch: FramePairs) -> object:
    """Its forward and backward passes."""
    return training.accumulate_gradients(training.prepare(batch, 0), exchange=True)


def memory_table(config: Config) -> Table:
    """The most memory that a step holds, each way."""
    rows: list[Row] = []
    for way in WAYS:
        rows.append({"training": way, **memory_columns(usage_of(first_step, config, way))})
    return Table(title="Memory of a training step", rows=rows, note=MEMORY_NOTE)


def first_step(config: Config, way: Variant) -> None:
    """One step of a new training."""
    activation_checkpointing = way == "ours, activation_checkpointing"
    compiled = config.train.compile and not activation_checkpointing  # they exclude each other
    changes = {"activation_checkpointing": activation_checkpointing, "compile": compiled}
    train = config.train.model_copy(update=changes)
    config = config.model_copy(update={"train": train})
    accelerator = start_processes(config.train)
    batch = random_batch(config, accelerator.device)
    if way == "plain":
        plain_step(start_plain(config, accelerator.device), batch)
    else:
        training_step(start(config, accelerator), batch)
