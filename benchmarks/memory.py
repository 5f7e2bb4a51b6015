"""How much memory animations and saved motions take, by the length of the clip; and a batch."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.end_to_end import animate_files, save_motions, write_files
from benchmarks.hardware import describe
from benchmarks.plain import plain_form, plain_frame
from benchmarks.processes import memory_columns, usage_of
from benchmarks.report import Result, Row, Table
from benchmarks.target import BenchmarkTarget
from utils.device import precision_name

LENGTHS = (6, 60)  # seconds of video
BATCHES = {"cpu": (1, 4, 16), "mps": (1, 4, 16), "cuda": (1, 16, 64)}


def benchmark(target: BenchmarkTarget, lengths: Sequence[float]) -> Result:
    """Single batches, and clips of several lengths in seconds, each in a process of its own."""
    return Result(
        benchmark="memory",
        settings=target.settings,
        hardware=describe(target.device),
        tables=[batches_table(target), *clips_tables(target, lengths)],
    )


def clips_tables(target: BenchmarkTarget, lengths: Sequence[float]) -> list[Table]:
    """Peak and time of whole animations, and the peak of saving the motion of the same clips."""
    animations: list[Row] = []
    motions: list[Row] = []
    first: dict[str, float] = {}  # peaks of the first length
    for length in lengths:
        with tempfile.TemporaryDirectory() as name:
            write_files(Path(name), target, length)
            animation = usage_of(animate_files, Path(name), target)
            motion = usage_of(save_motions, Path(name), target)
        timing = animation.result
        animations.append(
            {
                "clip, s": length,
                **memory_columns(animation),
                "times the first": animation.peak / first.setdefault("animation", animation.peak),
                "animated in, s": timing.seconds,
                "frames/s": timing.num_frames / timing.seconds,
            }
        )
        motions.append(
            {
                "clip, s": length,
                **memory_columns(motion),
                "times the first": motion.peak / first.setdefault("motion", motion.peak),
            }
        )
    return [
        Table(
            title="Whole animations",
            rows=animations,
            note="From file to file, each in a process.",
        ),
        Table(
            title="Saved motions",
            rows=motions,
            note="The motion of the same clips, without an animation.",
        ),
    ]


def batches_table(target: BenchmarkTarget) -> Table:
    """Peak of a batch of driving frames, in every precision, beside the plain form's frame."""
    usage = usage_of(render_plain, target)
    rows: list[Row] = [{"form": "plain", "precision": "fp32", "batch": 1, **memory_columns(usage)}]
    for precision in target.precisions:
        for batch in BATCHES[target.device.type]:
            usage = usage_of(render_fast, target, precision, batch)
            rows.append(
                {
                    "form": "fast",
                    "precision": precision_name(precision),
                    "batch": batch,
                    **memory_columns(usage),
                }
            )
    note = "The making of the form and one batch, which includes the trained network it is made of."
    return Table(title="One batch of frames", rows=rows, note=note)


def render_plain(target: BenchmarkTarget) -> None:
    source, driving = target.pictures(2).split(1)
    plain_frame(plain_form(target.network()), source, driving)


@torch.inference_mode()
def render_fast(target: BenchmarkTarget, precision: torch.dtype, batch: int) -> None:
    pictures = target.pictures(1 + batch)
    fast = target.fused_network(precision)
    fast.render(fast.encode(pictures[:1]), fast.detect(pictures[1:]))
