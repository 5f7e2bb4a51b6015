"""Frames a second of the fast form against the plain one, and how far apart their pictures are."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from benchmarks.counting import Counts, count_flops, count_parts
from benchmarks.end_to_end import end_to_end_table
from benchmarks.hardware import Peaks, arithmetic, describe, measure_peaks, peak_table
from benchmarks.plain import plain_form, plain_frame, with_default_kernels
from benchmarks.report import Result, Row, Table
from benchmarks.target import BenchmarkTarget
from benchmarks.timing import Spread, take_turns
from inference.fused_network import FusedEncoded
from inference.precision import Inference
from modules.mcnet import MCNet
from utils.device import precision_name

Step = Literal["encode", "detect", "render"]

PLAIN, FAST = "plain", "fast"
STEPS: tuple[Step, ...] = get_args(Step)
SWEEP_SIDES = (128, 256, 384, 512)  # of frames, in pixels
SWEEP_BATCHES = {"cpu": (1, 2, 4, 8), "cuda": (1, 4, 16, 64), "mps": (1, 2, 4, 8)}
FRAMES_NOTE = (
    "A driving frame is detected and rendered; the plain form encodes the source again for each. "
    "The differences are from the plain form's frames, in grey levels of 255. The share of the "
    "peak counts what the plain network asks for (of a driving frame alone in the fast form), "
    "the executed share what the form computes. All forms keep the memory they free, as in every "
    "script."
)


class Variant(NamedTuple):
    """A way of making frames, or of a step to them."""

    form: str
    precision: torch.dtype
    batch: int  # driving frames at once
    call: Callable[[], Any]

    @property
    def name(self) -> str:
        return f"{self.form} {precision_name(self.precision)} {self.batch}"


class Comparison(NamedTuple):
    """A network in its plain form and in the fast one of every precision."""

    target: BenchmarkTarget
    plain: MCNet
    fast: dict[torch.dtype, Inference]


def benchmark(target: BenchmarkTarget, seconds: float, sweep: bool) -> Result:
    """Every way of making frames, its steps, and a whole animation; ``seconds`` for each table."""
    model = plain_form(target.network())
    counts = count_parts(model, target.size)
    used = [arithmetic_of(target, PLAIN, torch.float32)]
    used += [arithmetic_of(target, FAST, precision) for precision in target.precisions]
    peaks = measure_peaks(target.device, used, seconds / 5)
    forms = {precision: target.fused_network(precision) for precision in target.precisions}
    comparison = Comparison(target, model, forms)
    tables = [
        peak_table(peaks),
        parts_table(counts),
        frames_table(comparison, counts, peaks, seconds),
        steps_table(comparison, seconds),
        end_to_end_table(target),
    ]
    if sweep:
        tables += [sizes_table(comparison, seconds), batches_table(comparison, seconds)]
    return Result(
        benchmark="inference",
        settings=target.settings,
        hardware=describe(target.device),
        tables=tables,
    )


def arithmetic_of(target: BenchmarkTarget, form: str, precision: torch.dtype) -> str:
    """PyTorch takes TF32 for the convolutions of the plain form, unasked; the fast one does not."""
    return arithmetic(precision, target.device, tf32=form == PLAIN)


def parts_table(counts: Counts) -> Table:
    """Parameters and operations by part."""
    rows: list[Row] = [
        {
            "part": part.name,
            "parameters, million": part.parameters / 1e6,
            "GFLOP": part.flops / 1e9,
            "needed for": part.needed_for,
        }
        for part in counts.parts
    ]
    totals = {
        "a source": counts.source_flops,
        "a driving frame": counts.driving_flops,
        "both, as in every frame of the plain form": counts.frame_flops,
    }
    rows += [{"part": f"total of {name}", "GFLOP": flops / 1e9} for name, flops in totals.items()]
    rows[-1]["parameters, million"] = counts.parameters / 1e6
    return Table(
        title="Parameters and operations",
        rows=rows,
        note="Convolutions, matrix products and attention; a multiplication with its addition is "
        "two operations.",
    )


def ways_to_frames(
    comparison: Comparison, source: Tensor, driving: Tensor, batches: Iterable[int]
) -> Iterator[Variant]:
    """The plain way first, then the fast ones."""
    yield Variant(
        PLAIN, torch.float32, 1, partial(plain_frame, comparison.plain, source, driving[:1])
    )
    for precision, fast in comparison.fast.items():
        encoded = fast.encode(source)
        for batch in batches:
            yield Variant(
                "fast", precision, batch, partial(fast_frames, fast, encoded, driving[:batch])
            )


@torch.inference_mode()
def fast_frames(fast: Inference, encoded: FusedEncoded, driving: Tensor) -> Tensor:
    """The predictions for driving frames of an encoded source: (B, 3, H, W) in [0, 1]."""
    return fast.render(encoded, fast.detect(driving))


@torch.inference_mode()
def frames_table(comparison: Comparison, counts: Counts, peaks: Peaks, seconds: float) -> Table:
    """Every way at the configured size: time, ratio, share of the peak, difference."""
    target = comparison.target
    pictures = target.pictures(1 + max(target.batches))
    source, driving = pictures[:1], pictures[1:]
    ways = list(ways_to_frames(comparison, source, driving, target.batches))
    expected = torch.cat([plain_frame(comparison.plain, source, one) for one in driving.split(1)])
    took = per_frame(ways, seconds, target.device)
    rows: list[Row] = []
    for way in ways:
        asked = counts.frame_flops if way.form == PLAIN else counts.driving_flops
        executed = executed_flops(comparison, way, source, driving[:1])
        difference = (way.call() - expected[: way.batch]).abs() * 255
        used = arithmetic_of(target, way.form, way.precision)
        of_peak = 100 / took[way.name].median / peaks[used].flops
        rows.append(
            speed(way, took)
            | {
                "of the peak, %": asked * of_peak,
                "executed, GFLOP": executed / 1e9,
                "executed, % of the peak": executed * of_peak,
                "mean difference": difference.mean().item(),
                "largest difference": difference.max().item(),
            }
        )
    return Table(title="Frames", rows=rows, note=FRAMES_NOTE)


def executed_flops(comparison: Comparison, way: Variant, source: Tensor, driving: Tensor) -> int:
    """The operations that a way does for a driving frame (1, 3, H, W)."""
    if way.form == PLAIN:
        return count_flops(partial(plain_frame, comparison.plain, source, driving))
    form = comparison.fast[way.precision].form
    encoded = form.encode(source)
    # Not ``render``: of what a GPU replays nothing is seen from here.
    return count_flops(lambda: form.compute(encoded, form.detect(driving)))


def per_frame(ways: list[Variant], seconds: float, device: torch.device) -> dict[str, Spread]:
    """Seconds of a frame, made every way in turn."""
    took = take_turns({way.name: way.call for way in ways}, seconds, device)
    return {way.name: took[way.name].times(1 / way.batch) for way in ways}


def speed(way: Variant, took: dict[str, Spread]) -> Row:
    """The columns that say how fast a way is."""
    plain = next(spread for name, spread in took.items() if name.startswith(PLAIN))
    spread = took[way.name]
    return {
        "form": way.form,
        "precision": precision_name(way.precision),
        "batch": way.batch,
        "ms a frame": spread.times(1e3),
        "frames/s": 1 / spread.median,
        "times the plain": plain.median / spread.median,
    }


@torch.inference_mode()
def steps_table(comparison: Comparison, seconds: float) -> Table:
    """The three steps apart: the plain form's frame by frame, the fast form's by the batch."""
    target = comparison.target
    batch = target.batches[0 if target.device.type == "cpu" else -1]
    pictures = target.pictures(1 + batch)
    source, driving = pictures[:1], pictures[1:]
    rows: list[Row] = []
    for step in STEPS:
        plain = partial(with_default_kernels, step_of(comparison.plain, step, source, driving[:1]))
        ways = [Variant(PLAIN, torch.float32, 1, plain)]
        ways += [
            Variant(FAST, precision, 1 if step == "encode" else batch, call)
            for precision, fast in comparison.fast.items()
            for call in [step_of(fast, step, source, driving)]
        ]
        took = per_frame(ways, seconds / len(STEPS), target.device)
        rows += [{"step": step, **speed(way, took)} for way in ways]
    note = "Encoding is of the source, with its keypoints; the other two are of a driving frame."
    return Table(title="Steps", rows=rows, note=note)


def step_of(network: Any, step: Step, source: Tensor, driving: Tensor) -> Callable[[], Any]:
    """A step of either form, on what the steps before it have made."""
    if step == "encode":
        return partial(network.encode, source)
    if step == "detect":
        return partial(network.detect, driving)
    return partial(network.render, network.encode(source), network.detect(driving))


@torch.inference_mode()
def sizes_table(comparison: Comparison, seconds: float) -> Table:
    """How the time of a frame grows with its size."""
    target, rows = comparison.target, []
    for side in SWEEP_SIDES:
        size = (side, side)
        pictures = target.pictures(1 + target.batches[-1], size)
        flops = count_parts(comparison.plain, size).driving_flops
        ways = list(ways_to_frames(comparison, pictures[:1], pictures[1:], target.batches[-1:]))
        took = per_frame(ways, seconds / len(SWEEP_SIDES), target.device)
        columns: Row = {"frame": f"{side} x {side}", "driving frame, GFLOP": flops / 1e9}
        rows += [columns | speed(way, took) for way in ways]
    return Table(title="By size of frames", rows=rows)


@torch.inference_mode()
def batches_table(comparison: Comparison, seconds: float) -> Table:
    """How the time of a frame falls with the number of driving frames at once."""
    target = comparison.target
    batches = SWEEP_BATCHES[target.device.type]
    pictures = target.pictures(1 + max(batches))
    ways = list(ways_to_frames(comparison, pictures[:1], pictures[1:], batches))
    took = per_frame(ways, seconds, target.device)
    return Table(title="By batch", rows=[speed(way, took) for way in ways])
