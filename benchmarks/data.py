"""Frames per second that reach the training step, and the cost of each part of loading them."""

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.report import BenchmarkResult, BenchmarkTable, Row, describe_hardware
from benchmarks.target import SEED
from benchmarks.timing import Call, Spread, time_interleaved
from config import Config
from datasets.augmentation import augment
from datasets.config import SyntheticConfig
from datasets.dataloader import load_batches
from datasets.frame_pairs import PairDataset, PairSampler, collate
from datasets.streaming.writer import write_stream
from datasets.synthetic.clips import generate
from datasets.training_clips import TrainingClip, training_clips
from media.pictures import Picture, resized
from utils.errors import InputError
from utils.worker_pool import usable_cores

CPU = torch.device("cpu")
PEOPLE, CLIP_FRAMES = 8, 25  # of the generated clips
PARTS_NOTE = (
    "One thread, clips of {clips} pixels: where these are the configured size, resizing only makes "
    "a tensor. The positions of a clip's key frames are read once per process and not counted."
)


def generate_clips(root: Path, config: Config) -> None:
    """Generate clips of heads in the configured size, as files or as a stream."""
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


def benchmark(config: Config, seconds: float) -> BenchmarkResult:
    """Measure the loader with several numbers of workers, and its parts in one thread."""
    clips = training_clips(config.data, "train")
    dataset = PairDataset(clips, config.data, config.seed)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        tables = [loader_table(dataset, config, seconds), parts_table(dataset, config, seconds)]
    finally:
        torch.set_num_threads(num_threads)
    height, width = config.data.frame_size
    return BenchmarkResult(
        benchmark="data",
        settings={
            "config": config.name,
            "clips": len(clips),
            "source": config.data.source,
            "frames": f"{width} x {height}",
            "batch": config.train.batch_size,
        },
        hardware=describe_hardware(CPU),
        tables=tables,
    )


def loader_table(dataset: PairDataset, config: Config, seconds: float) -> BenchmarkTable:
    """Frames per second from the loader that the training uses, by the number of workers."""
    rows: list[Row] = []
    counts = sorted({0, usable_cores(), config.train.workers})
    for workers in counts:
        rate = Spread.of(frames_per_second(dataset, config, workers, seconds / len(counts)))
        cores = min(max(workers, 1), usable_cores())
        rows.append(
            {
                "workers": workers,
                "cores used": cores,
                "frames/s": rate,
                "frames/s per core": rate.median / cores,
            }
        )
    note = "Without workers the training process loads its batches itself."
    return BenchmarkTable(title="Loader", rows=rows, note=note)


def frames_per_second(
    dataset: PairDataset, config: Config, workers: int, seconds: float
) -> np.ndarray:
    """Rates of the loader once its workers are running, (repeats,) in frames per second."""
    batch_size = config.train.batch_size
    sampler = PairSampler(len(dataset), batch_size, config.seed)
    batches = load_batches(dataset, sampler, workers, pin_memory=False)
    # More than is prefetched while nobody waits, so that the warm-up uses that up; and the same
    # number from every worker.
    num_batches = 3 * max(1, workers)
    call = {f"{workers} workers": lambda: [*islice(batches, num_batches)]}
    (times,) = time_interleaved(call, seconds, CPU).values()
    return 2 * batch_size * num_batches / times


def parts_table(dataset: PairDataset, config: Config, seconds: float) -> BenchmarkTable:
    """Time of a whole pair in one thread, and of the steps to it."""
    rng, augmentation = np.random.default_rng(SEED), config.data.augmentation
    keys = chain.from_iterable(PairSampler(len(dataset), 1, SEED))
    pair = dataset[next(keys)]
    frames = np.stack(two_frames(dataset.clips, rng))
    images = torch.stack([pair.source, pair.driving])
    calls: dict[str, Call] = {
        "whole pair": lambda: dataset[next(keys)],
        "open, decode, to RGB": lambda: two_frames(dataset.clips, rng),
        "resize": lambda: [resized(frame, config.data.frame_size) for frame in frames],
        "augment": lambda: augment(images, pair.landmarks, augmentation, rng),
        "collate": lambda: collate([pair]),
    }
    rows: list[Row] = [
        {
            "part": part,
            "ms per frame": Spread.of(1e3 * times / 2),
            "frames/s": 2 / float(np.median(times)),
        }
        for part, times in time_interleaved(calls, seconds, CPU).items()
    ]
    height, width = frames.shape[1:3]
    note = PARTS_NOTE.format(clips=f"{width} x {height}")
    return BenchmarkTable(title="Parts of the loading", rows=rows, note=note)


def two_frames(clips: Sequence[TrainingClip], rng: np.random.Generator) -> list[Picture]:
    """Read two random frames of a random clip."""
    clip = clips[int(rng.integers(len(clips)))]
    return clip.frames(sorted(rng.integers(clip.num_frames, size=2).tolist()))
