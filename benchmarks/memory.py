"""Peak memory of batches, and of animations and saved motions by the length of the clip."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from animation.animate_file import save_motion
from benchmarks.plain import plain_frame, plain_network
from benchmarks.processes import RESIDENT, peaks_of
from benchmarks.report import BenchmarkResult, BenchmarkTable, Row, describe_hardware
from benchmarks.target import BenchmarkTarget
from utils.device import precision_name

LENGTHS = (6, 60)  # seconds of video
BATCHES = {"cpu": (1, 4, 16), "mps": (1, 4, 16), "cuda": (1, 16, 64)}


def benchmark(target: BenchmarkTarget, lengths: Sequence[float]) -> BenchmarkResult:
    """Measure batches, and clips of several lengths in seconds, each in a process of its own."""
    return BenchmarkResult(
        benchmark="memory",
        settings=target.settings,
        hardware=describe_hardware(target.device),
        tables=[batches_table(target), clips_table(target, lengths)],
    )


def batches_table(target: BenchmarkTarget) -> BenchmarkTable:
    """Peak of a batch of driving frames in every precision, and of the plain network's frame."""
    plain = peaks_of(render_plain, target)
    rows: list[Row] = [{"network": "plain", "precision": "fp32", "batch": 1, **plain}]
    for precision in target.precisions:
        for batch in BATCHES[target.device.type]:
            peaks = peaks_of(render_fused, target, precision, batch)
            name = precision_name(precision)
            rows.append({"network": "fused", "precision": name, "batch": batch, **peaks})
    note = "The network is loaded (and fused) in the same process."
    return BenchmarkTable(title="One batch of frames", rows=rows, note=note)


def clips_table(target: BenchmarkTarget, lengths: Sequence[float]) -> BenchmarkTable:
    """Peak of animating clips of several lengths in seconds, and of saving their motions."""
    rows: list[Row] = []
    for task, function in {"animation": animate_files, "saved motion": save_motion_file}.items():
        first = None
        for length in lengths:
            with tempfile.TemporaryDirectory() as name:
                target.write_files(Path(name), length)
                peaks = peaks_of(function, target, Path(name))
            first = first or peaks[RESIDENT]
            relative = peaks[RESIDENT] / first
            rows.append({"task": task, "clip, s": length, **peaks, "times the first": relative})
    return BenchmarkTable(title="Clips", rows=rows, note="From file to file.")


def render_plain(target: BenchmarkTarget) -> None:
    source, driving = target.pictures(2).split(1)
    plain_frame(plain_network(target.network()), source, driving)


@torch.inference_mode()
def render_fused(target: BenchmarkTarget, precision: torch.dtype, batch: int) -> None:
    pictures = target.pictures(1 + batch)
    network = target.fused_network(precision)
    network.render(network.encode(pictures[:1]), network.detect(pictures[1:]))


def animate_files(target: BenchmarkTarget, folder: Path) -> None:
    target.animate_files(folder)


def save_motion_file(target: BenchmarkTarget, folder: Path) -> None:
    save_motion(target.animator(), folder / "driving.mp4", folder / "motion.npz")
