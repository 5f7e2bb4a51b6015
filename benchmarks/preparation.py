"""Clips a second that ``python -m datasets voxceleb`` cuts out of raw videos."""

import csv
import os
import time
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.clips import head_frames, there_and_back
from benchmarks.hardware import describe, usable_cores
from benchmarks.report import Result, Row, Table
from benchmarks.timing import FEWEST, Spread
from datasets.preprocessing.cutting import RATE, Form
from datasets.preprocessing.report import Shard
from datasets.preprocessing.voxceleb import prepare
from media.video import VideoWriter

HEIGHT, WIDTH = 720, 1280  # of the raw videos
RAW_RATE = Fraction(30)  # frames a second of them
KEY_FRAMES = 150  # from one key frame to the next, as video sites write them
CLIP_SECONDS = 8  # the mean of VoxCeleb1's clips
CLIPS = 3  # of a raw video, one after the other with as much between them
BOX = "400-60-840-600"  # 1.2 times as high as it is wide, as the median of VoxCeleb1
NOTE = (
    f"Raw videos of {WIDTH} x {HEIGHT} pixels, {RAW_RATE} frames/s, a key frame every "
    f"{KEY_FRAMES}; clips of {CLIP_SECONDS} s. The start of the processes counts."
)


def benchmark(folder: Path, seconds: float) -> Result:
    """Runs of the whole command, with one process and with one for each core."""
    videos = write_videos(folder / "videos", usable_cores())
    metadata = write_metadata(folder / "metadata.csv", sorted(videos.iterdir()))
    counts = sorted({1, usable_cores()})
    rows = [row(metadata, videos, workers, seconds / len(counts)) for workers in counts]
    return Result(
        benchmark="preparation",
        settings={"clips": CLIPS * usable_cores(), "frames": "256 x 256"},
        hardware=describe(torch.device("cpu")),
        tables=[Table(title="Clips cut out of raw videos", rows=rows, note=NOTE)],
    )


def row(metadata: Path, videos: Path, workers: int, seconds: float) -> Row:
    """How fast so many processes are, in runs for so many seconds, three at least."""
    rates: list[float] = []
    deadline = time.perf_counter() + seconds
    for number in count():
        root = metadata.with_name(f"root-{workers}-{number}")
        began = time.perf_counter()
        report = prepare(metadata, videos, root, Form(), workers=workers, shard=Shard())
        rates.append(report.num_done / (time.perf_counter() - began))
        if len(rates) >= FEWEST and time.perf_counter() > deadline:
            break
    rate = Spread.of(rates)
    return {
        "processes": workers,
        "clips/s": rate,
        "clips/s of a core": rate.median / workers,
        "seconds of clips in a second": rate.median * CLIP_SECONDS,
    }


def write_videos(folder: Path, number: int) -> Path:
    """Raw videos of a generated head, all alike."""
    folder.mkdir()
    frames = [
        np.asarray(Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
        for frame in head_frames(2 * RATE, (256, 256))
    ]
    first = folder / "video0.mp4"
    with VideoWriter(first, RAW_RATE, crf=20, key_frame_every=KEY_FRAMES) as writer:
        for n in range(int(2 * CLIPS * CLIP_SECONDS * RAW_RATE)):
            writer.write(frames[there_and_back(n, len(frames))])
    for copy in range(1, number):
        os.link(first, folder / f"video{copy}.mp4")
    return folder


def write_metadata(path: Path, videos: list[Path]) -> Path:
    """A table of clips of the videos."""
    length = CLIP_SECONDS * RATE
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["video_id", "start", "end", "bbox", "width", "height", "partition", "person_id"]
        )
        for number, video in enumerate(videos):
            for start in range(0, 2 * CLIPS * length, 2 * length):
                clip = (video.stem, start, start + length, BOX, WIDTH, HEIGHT, "train")
                writer.writerow([*clip, f"id{number:05d}"])
    return path
