"""Frames per second of the fused network compared with the plain one, and their difference."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.counting import count_flops, count_parts, parts_table
from benchmarks.plain import plain_frame, plain_network
from benchmarks.report import BenchmarkResult, BenchmarkTable, Row, describe_hardware
from benchmarks.target import BenchmarkTarget
from benchmarks.timing import Spread, time_interleaved
from inference.fused_network import FusedEncoded
from inference.precision import Inference
from modules.mcnet import MCNet
from utils.device import precision_name

BATCHES = {"cpu": (1, 4), "cuda": (1, 4, 16), "mps": (1, 4)}  # driving frames rendered at once
CLIP_SECONDS = 10.0


class Variant(NamedTuple):
    """A network that renders a number of driving frames at once."""

    network: Literal["plain", "fused"]
    precision: torch.dtype
    batch: int
    call: Callable[[], Tensor]  # returns the frames, (batch, 3, H, W) in [0, 1]
    compute: Callable[[], object]  # executes the operations of one frame

    @property
    def name(self) -> str:
        return f"{self.network} {precision_name(self.precision)} {self.batch}"


def variants(
    plain: MCNet,
    fused: dict[torch.dtype, Inference],
    source: Tensor,
    driving: Tensor,
    batches: Sequence[int],
) -> Iterator[Variant]:
    """Yield the plain network, a frame at a time, then the fused ones; pictures (B, 3, H, W)."""
    frame = partial(plain_frame, plain, source, driving[:1])
    yield Variant("plain", torch.float32, 1, call=frame, compute=frame)
    for precision, network in fused.items():
        encoded = network.encode(source)
        for batch in batches:
            yield Variant(
                "fused",
                precision,
                batch,
                call=partial(fused_frames, network, encoded, driving[:batch]),
                compute=partial(compute_frame, network, encoded, driving[:1]),
            )


def fused_frames(network: Inference, encoded: FusedEncoded, driving: Tensor) -> Tensor:
    """Render driving frames of an encoded source: (B, 3, H, W) in [0, 1]."""
    return network.render(encoded, network.detect(driving))


def compute_frame(network: Inference, encoded: FusedEncoded, driving: Tensor) -> Tensor:
    """Render as ``fused_frames``, without a CUDA graph: replayed operations cannot be counted."""
    return network.fused.compute(encoded, network.detect(driving))


@torch.inference_mode()
def benchmark(target: BenchmarkTarget, batches: Sequence[int], seconds: float) -> BenchmarkResult:
    """Measure frames for ``seconds``, and a whole animation."""
    source, driving = target.pictures(1 + max(batches)).split([1, max(batches)])
    plain = plain_network(target.network())
    fused = {precision: target.fused_network(precision) for precision in target.precisions}
    expected = torch.cat([plain_frame(plain, source, frame) for frame in driving.split(1)])
    compared = list(variants(plain, fused, source, driving, batches))
    return BenchmarkResult(
        benchmark="inference",
        settings=target.settings,
        hardware=describe_hardware(target.device),
        tables=[
            parts_table(count_parts(plain, target.size)),
            frames_table(compared, expected, seconds, target.device),
            animation_table(target),
        ],
    )


def frames_table(
    variants: Sequence[Variant], expected: Tensor, seconds: float, device: torch.device
) -> BenchmarkTable:
    """Time of a frame by every variant, and its difference from the expected (B, 3, H, W)."""
    times = time_interleaved({one.name: one.call for one in variants}, seconds, device)
    plain = float(np.median(times[variants[0].name]))
    rows: list[Row] = []
    for variant in variants:
        per_frame = times[variant.name] / variant.batch
        median = float(np.median(per_frame))
        difference = (variant.call() - expected[: variant.batch]).abs() * 255
        executed = count_flops(variant.compute) / 1e9
        rows.append(
            {
                "network": variant.network,
                "precision": precision_name(variant.precision),
                "batch": variant.batch,
                "ms per frame": Spread.of(1e3 * per_frame),
                "frames/s": 1 / median,
                "speed-up over plain": plain / median,
                "executed, GFLOP": executed,
                "TFLOP/s": executed / median / 1e3,
                "mean difference": difference.mean().item(),
                "largest difference": difference.max().item(),
            }
        )
    note = (
        "A driving frame is detected and rendered; the plain network encodes the source again for "
        "each. The differences are from the plain network's frames, in grey levels of 255. All "
        "networks keep the memory that they free, as in every script."
    )
    return BenchmarkTable(title="Frames", rows=rows, note=note)


def animation_table(target: BenchmarkTarget) -> BenchmarkTable:
    """Time of an animation from file to file, and the share of it in which the network computes."""
    with tempfile.TemporaryDirectory() as name:
        target.write_files(Path(name), CLIP_SECONDS)
        timing = target.animate_files(Path(name))
    row: Row = {
        "clip, s": CLIP_SECONDS,
        "frames": timing.num_frames,
        "wall, s": timing.seconds,
        "network, s": timing.network_seconds,
        "network / wall": timing.network_seconds / timing.seconds,
        "frames/s": timing.num_frames / timing.seconds,
    }
    note = (
        "A picture and an mp4 to an mp4 by a network that is already loaded, in the precision that "
        "the hardware multiplies fastest."
    )
    return BenchmarkTable(title="Whole animation", rows=[row], note=note)
