"""Measure how fast the network animates and trains on this machine, and how fast data is loaded.

python -m benchmarks inference
python -m benchmarks training
python -m benchmarks data [--root DIR] [--set data.source=stream]
python -m benchmarks memory
python -m benchmarks table RESULT.json ...
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from utils.command_line import DeviceOption, run, writable_file

if TYPE_CHECKING:
    from benchmarks.report import BenchmarkResult
    from benchmarks.target import BenchmarkTarget

app = typer.Typer(add_completion=False, no_args_is_help=True)

ConfigOption = Annotated[str, typer.Option(help="A file, or the name of one in config/.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="For example train.precision=fp32; repeatable.")
]
CheckpointOption = Annotated[
    Path | None, typer.Option(help="Weights that fit the config; random if left out.")
]
SecondsOption = Annotated[
    float,
    typer.Option(min=0, help="Time for each table; every call is measured three times at least."),
]
OutputOption = Annotated[
    Path | None, typer.Option(help="A JSON file for the result.", callback=writable_file)
]

SECONDS = 30.0


@app.command()
def inference(
    *,
    config: ConfigOption = "vox.yaml",
    overrides: SetOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    batches: Annotated[
        list[int] | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="Driving frames rendered at once; repeatable: 1, 4 (on CUDA also 16) if left out.",
        ),
    ] = None,
    seconds: SecondsOption = SECONDS,
    output: OutputOption = None,
) -> int:
    """Measure frames per second of the fused network, and of a whole animation."""
    from benchmarks.inference import BATCHES, benchmark

    target = load_target(config, overrides, device, checkpoint)
    return finish(benchmark(target, batches or BATCHES[target.device.type], seconds), output)


@app.command()
def training(
    *,
    config: ConfigOption = "vox.yaml",
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pairs; 2 on a CPU, else the config's.")
    ] = None,
    seconds: SecondsOption = SECONDS,
    output: OutputOption = None,
) -> int:
    """Measure samples per second and memory of the training step."""
    import torch

    from benchmarks.training import benchmark, training_config
    from utils.device import pick_device

    if device == "auto" and not torch.cuda.is_available():
        device = "cpu"  # where train.py would train, even with an Apple GPU
    chosen = pick_device(device)
    if batch_size is None and chosen.type == "cpu":
        batch_size = 2
    settings = training_config(config, batch_size, overrides or [])
    return finish(benchmark(settings, chosen, seconds), output)


@app.command()
def data(
    *,
    config: ConfigOption = "vox.yaml",
    overrides: SetOption = None,
    root: Annotated[
        str | None,
        typer.Option(help="Prepared clips, or a stream; some are generated if left out."),
    ] = None,
    seconds: SecondsOption = SECONDS,
    output: OutputOption = None,
) -> int:
    """Measure frames per second of the training's loader, and the cost of each part of its work."""
    from benchmarks.data import benchmark, generate_clips
    from config import load_config

    with TemporaryDirectory() as folder:
        clips = Path(folder) / "clips"
        settings = load_config(config, [*(overrides or []), f"data.root={root or clips}"])
        if root is None:
            generate_clips(clips, settings)
        result = benchmark(settings, seconds)
    return finish(result, output)


@app.command()
def memory(
    *,
    config: ConfigOption = "lite.yaml",
    overrides: SetOption = None,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    lengths: Annotated[
        list[float] | None,
        typer.Option(
            "--length", min=0.1, help="Seconds of a clip; repeatable: 6 and 60 if left out."
        ),
    ] = None,
    output: OutputOption = None,
) -> int:
    """Measure peak memory of batches, and of animating and saving motions of clips.

    Small networks show best whether memory grows with the clip.
    """
    from benchmarks.memory import LENGTHS, benchmark

    target = load_target(config, overrides, device, checkpoint)
    return finish(benchmark(target, lengths or LENGTHS), output)


@app.command()
def table(
    *, results: Annotated[list[Path], typer.Argument(help="Files that --output has written.")]
) -> int:
    """Print saved results as Markdown."""
    from benchmarks.report import markdown, read

    typer.echo("\n\n".join(markdown(read(path)) for path in results))
    return 0


def load_target(
    config: str, overrides: list[str] | None, device: str, checkpoint: Path | None
) -> "BenchmarkTarget":
    """Load the configuration of a network, and choose its device."""
    from benchmarks.target import BenchmarkTarget
    from config import load_config
    from modules.checkpoints import weights_file
    from utils.device import pick_device

    if checkpoint is not None:
        weights_file(checkpoint)  # before any work
    return BenchmarkTarget(load_config(config, overrides or []), pick_device(device), checkpoint)


def finish(result: "BenchmarkResult", output: Path | None) -> int:
    """Print a result, and save it if asked to."""
    from benchmarks.report import markdown

    typer.echo(markdown(result))
    if output is not None:
        result.write_json(output)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
