"""Measures any two folders and what a memory is worth, compares two results, makes lists of pairs.

python -m evaluation --real DIR --generated DIR [--source DIR]
python -m evaluation compare A/result.json B/result.json
python -m evaluation memory --checkpoint C --root DIR [--frames N]
python -m evaluation pairs --root DIR --output pairs.csv
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from evaluation.command_line import (
    BATCH_SIZE,
    ArcFaceOption,
    BatchOption,
    DeviceOption,
    LandmarksOption,
    MetricsOption,
    OpenFaceOption,
    SeedOption,
    StrictOption,
)
from utils.command_line import run, writable_file, writable_folder
from utils.errors import InputError
from utils.wording import counted

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def folders(
    context: typer.Context,
    *,
    real: Annotated[
        Path | None, typer.Option(help="Folder of the true (or driving) frames.")
    ] = None,
    generated: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    source: Annotated[Path | None, typer.Option(help="Folder of the sources, for CSIM.")] = None,
    cross_identity: Annotated[
        bool, typer.Option("--cross-identity", help="The driving frames show other people.")
    ] = False,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="The network whose results these are, for the motion of its keypoints, and for "
            "its landmark detector where face-alignment is not available."
        ),
    ] = None,
    metrics: MetricsOption = "all",
    openface: OpenFaceOption = None,
    arcface: ArcFaceOption = None,
    landmarks: LandmarksOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchOption = BATCH_SIZE,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    output: Annotated[
        Path, typer.Option(help="Folder of the result.", callback=writable_folder)
    ] = Path("results/folders"),
) -> int:
    """Measure results against true frames, or a command below."""
    if context.invoked_subcommand is not None:
        return 0
    from animation.animator import Animator
    from evaluation.command_line import conditions, finish
    from evaluation.evaluator import Evaluation, Request
    from evaluation.folders import pair_folders
    from evaluation.metrics.suite import EvaluatedNetwork, WeightFiles, build_suite, parse_metrics
    from evaluation.processes import joined_processes
    from modules.checkpoints import weights_file
    from utils.device import pick_device
    from utils.files import require_apart

    if real is None or generated is None:
        raise InputError("Name two folders with --real and --generated, or a command: see --help.")
    weights = None if checkpoint is None else weights_file(checkpoint)
    require_apart(output, real, generated, source, weights, openface, arcface)
    wanted = parse_metrics(metrics)
    units, missing, num_names = pair_folders(real, generated, source, landmarks)
    if missing and strict:
        reasons = [f"{name}: {reason}" for name, reason in missing.items()]
        raise InputError(f"{counted(len(missing), 'name')} without a partner: {' '.join(reasons)}")
    with joined_processes() as processes:
        chosen = pick_device(device)
        network = None
        if checkpoint is not None:
            animator = Animator.from_checkpoint(
                checkpoint, resize_mode="squash", device=device, precision="fp32"
            )
            network = EvaluatedNetwork(animator, checkpoint)
        suite = build_suite(
            *(wanted, chosen, WeightFiles(openface, arcface)),
            has_source=source is not None,
            cross_identity=cross_identity,
            network=network,
            given_landmarks=landmarks,
        )
        request = Request(
            protocol="folders",
            cross_identity=cross_identity,
            conditions={
                "real": str(real),
                "generated": str(generated),
                "source": None if source is None else str(source),
                "landmarks": None if landmarks is None else str(landmarks),
                "seed": seed,
                **conditions(suite, chosen),
            },
            coverage={
                "clips": {"listed": num_names, "used": 0, "dropped": missing},
                "pairs": None,
            },
            seed=seed,
            batch_size=batch_size,
        )
        result = Evaluation(units, None, suite, request, output=output, processes=processes).run()
        return finish(result, output, strict)


@app.command("compare")
def compare_results(
    *,
    a: Annotated[Path, typer.Argument(help="The result.json of one evaluation.")],
    b: Annotated[Path, typer.Argument(help="That of another, of the same frames.")],
    seed: SeedOption = 0,
    output: Annotated[
        Path | None,
        typer.Option(help="A JSON file for the comparison.", callback=writable_file),
    ] = None,
) -> int:
    """Paired differences B - A of two evaluations, with intervals and a verdict for each metric."""
    from evaluation.results.compare import compare, comparison_json, comparison_markdown
    from evaluation.results.result import FRAMES_FILE
    from utils.files import require_apart, write_atomically

    if output is not None:
        require_apart(output, a, b, a.with_name(FRAMES_FILE), b.with_name(FRAMES_FILE))
    comparison = compare(a, b, seed)
    typer.echo(comparison_markdown(comparison))
    if output is not None:
        write_atomically(output, json.dumps(comparison_json(comparison), indent=1))
    return 0


@app.command("memory")
def write_memory_use(
    *,
    checkpoint: Annotated[Path, typer.Option(help="Ours (a run) or a published .pth.tar.")],
    root: Annotated[Path, typer.Option(help="Folder of clips, with or without train and test.")],
    frames: Annotated[int, typer.Option(min=1, help="Of each clip of the test split.")] = 8,
    limit: Annotated[int | None, typer.Option(min=2, help="First clips only.")] = None,
    hide: Annotated[
        float, typer.Option(min=0, max=1, help="Share of blocks hidden at random besides.")
    ] = 0.0,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    output: Annotated[Path | None, typer.Option(help="A JSON file for the numbers.")] = None,
) -> int:
    """Measure what the memory of a network is worth: zeros or another person's in its place."""
    from animation.animator import PUBLISHED_SIZE
    from datasets.clips import find_clips
    from datasets.config import DataConfig
    from evaluation.memory_use import Plan, measure_memory, memory_json, memory_markdown
    from modules.checkpoints import load_model, read_config
    from utils.device import pick_device
    from utils.files import write_atomically

    resolved = read_config(checkpoint)
    side = resolved["data"]["size"] if resolved else PUBLISHED_SIZE
    height, width = (side, side) if isinstance(side, int) else side
    plan = Plan((height, width), frames, hide, seed)
    model = load_model(checkpoint).to(pick_device(device))
    use = measure_memory(model, find_clips(DataConfig(root=root), "test")[:limit], plan)
    typer.echo(memory_markdown(use))
    if output is not None:
        write_atomically(output, json.dumps(memory_json(use), indent=1))
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
    count: Annotated[int, typer.Option(min=1, help="Rows.")] = 2083,
    split: Literal["test", "train"] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Of the choice.")] = 0,
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
