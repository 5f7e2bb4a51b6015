"""Commands of the evaluation: measure two folders, compare results, weigh a memory, list pairs.

python -m evaluation --real DIR --generated DIR [--source DIR]
python -m evaluation compare A/result.json B/result.json
python -m evaluation memory --checkpoint C --root DIR [--frames N]
python -m evaluation pairs --root DIR --output pairs.csv
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from evaluation.command_line import MeasureOptions, SeedOption
from utils.command_line import (
    DeviceOption,
    options_from_dataclasses,
    run,
    writable_file,
    writable_folder,
)
from utils.errors import InputError
from utils.wording import counted

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """Options of the command that measures two folders."""

    real: Annotated[Path | None, typer.Option(help="Folder of the true (or driving) frames.")] = (
        None
    )
    generated: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None
    source: Annotated[Path | None, typer.Option(help="Folder of the sources, for CSIM.")] = None
    cross_identity: Annotated[
        bool, typer.Option("--cross-identity", help="The driving frames show other people.")
    ] = False
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The network whose results these are, for the motion of its keypoints, and for "
            "its landmark detector where face-alignment is not available."
        ),
    ] = None
    output: Annotated[
        Path, typer.Option(help="Folder of the result.", callback=writable_folder)
    ] = Path("results/folders")


@app.callback(invoke_without_command=True)
@options_from_dataclasses
def folders(context: typer.Context, *, options: FolderOptions, measuring: MeasureOptions) -> int:
    """Measure results against true frames, or run a command below."""
    if context.invoked_subcommand is not None:
        return 0
    from animation.animator import Animator
    from evaluation.evaluator import Evaluation
    from evaluation.folders import pair_folders
    from evaluation.metrics.inputs import MetricInputs
    from evaluation.metrics.registry import parse_metrics
    from evaluation.processes import joined_processes
    from evaluation.results.result import ClipCoverage, Coverage
    from modules.checkpoints import weights_file
    from utils.device import pick_device
    from utils.files import require_apart

    parse_metrics(measuring.metrics)
    real, generated, source = options.real, options.generated, options.source
    checkpoint = options.checkpoint
    if real is None or generated is None:
        raise InputError("Name two folders with --real and --generated, or a command: see --help.")
    weights = None if checkpoint is None else weights_file(checkpoint)
    read = (real, generated, source, weights, measuring.openface, measuring.arcface)
    require_apart(options.output, *read)
    units, missing, num_names = pair_folders(real, generated, source, measuring.landmarks)
    if missing and measuring.strict:
        reasons = [f"{name}: {reason}" for name, reason in missing.items()]
        raise InputError(f"{counted(len(missing), 'name')} without a partner: {' '.join(reasons)}")
    clips = ClipCoverage(listed=num_names, used=0, dropped=missing)
    with joined_processes() as processes:
        network = None
        if checkpoint is not None:
            network = Animator.from_checkpoint(
                checkpoint, resize_mode="squash", device=measuring.device, precision="fp32"
            )
        inputs = MetricInputs(
            pick_device(measuring.device),
            measuring,
            has_source=source is not None,
            cross_identity=options.cross_identity,
            network=network,
        )
        return Evaluation(
            units=units,
            coverage=Coverage(clips=clips, pairs=None),
            inputs=inputs,
            protocol="folders",
            conditions={
                "real": str(real),
                "generated": str(generated),
                "source": None if source is None else str(source),
            },
            output=options.output,
            processes=processes,
        ).measure()


@app.command("compare")
def compare_results(
    *,
    a: Annotated[Path, typer.Argument(help="The result.json of one evaluation.")],
    b: Annotated[
        Path, typer.Argument(help="The result.json of another evaluation of the same frames.")
    ],
    seed: SeedOption = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="A JSON file for the comparison.", callback=writable_file),
    ] = None,
) -> int:
    """Compare two evaluations: paired differences B - A with an interval and a verdict each."""
    from evaluation.results.compare import compare, comparison_markdown
    from evaluation.results.result import FRAMES_FILE
    from utils.files import require_apart

    if output is not None:
        require_apart(output, a, b, a.with_name(FRAMES_FILE), b.with_name(FRAMES_FILE))
    comparison = compare(a, b, seed)
    typer.echo(comparison_markdown(comparison))
    if output is not None:
        comparison.write_json(output)
    return 0


@app.command("memory")
def write_memory_use(
    *,
    checkpoint: Annotated[Path, typer.Option(help="A run of train.py or a published .pth.tar.")],
    root: Annotated[Path, typer.Option(help="Folder of clips, with or without train and test.")],
    frames: Annotated[int, typer.Option(min=1, help="Driving frames of each clip.")] = 8,
    limit: Annotated[int | None, typer.Option(min=2, help="First clips only.")] = None,
    hide: Annotated[
        float, typer.Option(min=0, max=1, help="Share of blocks that are hidden at random as well.")
    ] = 0.0,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    output: Annotated[Path | None, typer.Option(help="A JSON file for the numbers.")] = None,
) -> int:
    """Measure how much the memory adds, compared with zeros and with another person's memory."""
    from animation.animator import PUBLISHED_SIZE
    from datasets.clips import find_clips
    from datasets.config import DataConfig
    from evaluation.memory_use import Plan, measure_memory, memory_markdown
    from modules.checkpoints import load_model, read_config
    from utils.device import pick_device

    resolved = read_config(checkpoint)
    side = resolved["data"]["size"] if resolved else PUBLISHED_SIZE
    height, width = (side, side) if isinstance(side, int) else side
    plan = Plan((height, width), frames, hide, seed)
    model = load_model(checkpoint).to(pick_device(device))
    use = measure_memory(model, find_clips(DataConfig(root=root), "test")[:limit], plan)
    typer.echo(memory_markdown(use))
    if output is not None:
        use.write_json(output)
    return 0


@app.command("pairs")
def write_pairs(
    *,
    root: Annotated[Path, typer.Option(help="Folder of clips, with or without train and test.")],
    output: Annotated[Path, typer.Option(help="The CSV file to write.", callback=writable_file)],
    kind: Annotated[
        Literal["same", "cross", "clips"],
        typer.Option(help="Frames of one person, of two, or whole clips of two."),
    ] = "same",
    count: Annotated[int, typer.Option(min=1, help="Number of rows.")] = 2083,
    split: Literal["test", "train"] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice.")] = 0,
) -> int:
    """Make a list of pairs from the clips of a folder."""
    from datasets.clips import find_clips
    from datasets.config import DataConfig
    from evaluation.make_pairs import make_pairs, write_pair_list
    from utils.files import require_apart

    require_apart(output, root)
    rows = make_pairs(find_clips(DataConfig(root=root), split), kind, count, seed)
    write_pair_list(output, kind, rows)
    typer.echo(f"Written: {output}, {counted(len(rows), 'pair')}.")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
