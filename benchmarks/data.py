"""Frames a second that reach the training step, and what each of them costs on the way."""

import time
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2 import functional as F

from benchmarks.hardware import describe, usable_cores
from benchmarks.report import Result, Row, Table
from benchmarks.target import SEED
from benchmarks.timing import Call, Spread, take_turns
from config import Config
from datasets.augmentation import augment, shift_hue
from datasets.dataloader import load_batches
from datasets.frame_pairs import PairDataset, PairSampler, collate
from datasets.streaming.writer import write_stream
from datasets.synthetic.clips import SyntheticConfig, generate
from datasets.training_clips import TrainingClip, training_clips
from media.pictures import Picture, resized
from utils.errors import InputError

CPU = torch.device("cpu")
PARTS_NOTE = (
    "One thread, clips of {clips} pixels: where these are the configured size, resizing is but the "
    "making of a tensor. The steps of the augmentation leave out its conversion to float32 and "
    "back. Where the key frames of a clip are is read once in a process and not counted."
)
WINDOWS = 5  # in which the frames are counted
PEOPLE, CLIP_FRAMES = 8, 25  # of the generated clips


def generate_clips(root: Path, config: Config) -> None:
    """Clips of heads of the configured size, with a key frame every 12 frames; or a stream."""
    height, width = config.data.frame_size
    if height != width:
        raise InputError(
            f"Generated clips are square and the frames {width} x {height}: name clips with --root."
        )
    people = SyntheticConfig(
        train_identities=PEOPLE, test_identities=1, frames=CLIP_FRAMES, size=height, seed=SEED
    )
    if config.data.source == "files":
        generate(root, people)
    else:
        files = root.with_name("files")
        generate(files, people)
        write_stream(files, str(root), workers=usable_cores())


def benchmark(config: Config, seconds: float) -> Result:
    """The loader with several numbers of workers, and the parts of its work in one thread."""
    clips = training_clips(config.data, "train")
    dataset = PairDataset(clips, config.data, config.seed)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        tables = [loader_table(dataset, config, seconds), parts_table(dataset, config, seconds)]
    finally:
        torch.set_num_threads(num_threads)
    height, width = config.data.frame_size
    return Result(
        benchmark="data",
        settings={
            "config": config.name,
            "clips": len(clips),
            "source": config.data.source,
            "frames": f"{width} x {height}",
            "batch": config.train.batch_size,
        },
        hardware=describe(CPU),
        tables=tables,
    )


def loader_table(dataset: PairDataset, config: Config, seconds: float) -> Table:
    """Frames a second out of the loader that train.py makes."""
    rows: list[Row] = []
    counts = sorted({0, usable_cores(), config.train.workers})
    for workers in counts:
        rate = frames_per_second(dataset, config, workers, seconds / len(counts))
        cores = min(max(workers, 1), usable_cores())
        rows.append(
            {
                "workers": workers,
                "cores used": cores,
                "frames/s": rate,
                "frames/s of a core": rate.median / cores,
                "frames/s of 2 cores": 2 * rate.median / cores,
            }
        )
    return Table(title="Loader", rows=rows, note="No worker: the training process loads itself.")


def frames_per_second(dataset: PairDataset, config: Config, workers: int, seconds: float) -> Spread:
    """The rate at which the loader goes on once its workers have begun."""
    batch_size = config.train.batch_size
    sampler = PairSampler(len(dataset), batch_size, config.seed)
    batches = load_batches(dataset, sampler, workers, pin_memory=False)
    ahead = 1 + 2 * max(1, workers)  # prepared while nobody waited
    for _ in islice(batches, 2 * ahead):
        pass
    rates = []
    for _ in range(WINDOWS):
        began, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() - began < seconds / WINDOWS:
            next(batches)
            count += 1
        rates.append(2 * batch_size * count / (time.perf_counter() - began))
    return Spread.of(rates)


def parts_table(dataset: PairDataset, config: Config, seconds: float) -> Table:
    """What a pair costs in one thread, and its steps apart."""
    draws, augmentation = np.random.default_rng(SEED), config.data.augmentation
    keys = chain.from_iterable(PairSampler(len(dataset), 1, SEED))
    pair = dataset[next(keys)]
    frames = np.stack(two_frames(dataset.clips, draws))
    images = torch.stack([pair.source, pair.driving])
    colours = images.float() / 255
    calls: dict[str, Call] = {
        "whole pair": lambda: dataset[next(keys)],
        "open, decode, to RGB": lambda: two_frames(dataset.clips, draws),
        "resize": lambda: [resized(frame, config.data.frame_size) for frame in frames],
        "augment": lambda: augment(images, pair.landmarks, augmentation, draws),
        "augment: brightness": lambda: F.adjust_brightness(colours, 1.05),
        "augment: contrast": lambda: F.adjust_contrast(colours, 1.05),
        "augment: saturation": lambda: F.adjust_saturation(colours, 1.05),
        "augment: hue": lambda: shift_hue(colours, 0.05),
        "collate": lambda: collate([pair]),
    }
    took = {name: spread.times(0.5) for name, spread in take_turns(calls, seconds, CPU).items()}
    height, width = frames.shape[1:3]
    rows: list[Row] = [
        {"part": part, "ms a frame": spread.times(1e3), "frames/s": 1 / spread.median}
        for part, spread in took.items()
    ]
    note = PARTS_NOTE.format(clips=f"{width} x {height}")
    return Table(title="Parts of the loading", rows=rows, note=note)


def two_frames(clips: Sequence[TrainingClip], draws: np.random.Generator) -> list[Picture]:
    """Two random frames of a random clip."""
    clip = clips[int(draws.integers(len(clips)))]
    return clip.frames(sorted(draws.integers(clip.num_frames, size=2).tolist()))
