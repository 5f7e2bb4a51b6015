"""Measure how well a checkpoint reconstructs people that it was not trained on.

    python reconstruction.py --checkpoint C --config vox.yaml --root DIR
    python reconstruction.py --checkpoint C --config vox.yaml --protocol pairs --pairs CSV
    torchrun --nproc_per_node 8 reconstruction.py ...

Self-reenactment of the test split, in the metrics of the paper.  Run again after an interruption,
it goes on where it stopped.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from animation.animator import Animator
from config import checkpoint_config, load_config
from datasets.clips import Clip, require_own_names, survey_clips
from datasets.config import DataConfig
from datasets.pair_list import Pair, read_pair_list
from evaluation.command_line import MeasureOptions
from evaluation.evaluator import Evaluation
from evaluation.metrics.inputs import MetricInputs
from evaluation.metrics.registry import parse_metrics
from evaluation.processes import joined_processes
from evaluation.results.result import ClipCoverage, Coverage, PairCoverage
from evaluation.self_reenactment import Renderer, Resize, clip_unit, first_pictures, pair_units
from evaluation.work_units import Unit
from modules.checkpoints import weights_file
from utils.command_line import options_from_dataclasses, run, writable_folder
from utils.errors import InputError
from utils.files import file_sha256, require_apart
from utils.wording import counted

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command: the checkpoint, its data and the protocol."""

    checkpoint: Annotated[Path, typer.Option(help="A run of train.py or a published .pth.tar.")]
    config: Annotated[
        str | None, typer.Option(help="A file, or one of config/; else that in the checkpoint.")
    ] = None
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change the config, for example data.size=256."),
    ] = None
    root: Annotated[Path | None, typer.Option(help="Data folder, instead of data.root.")] = None
    protocol: Annotated[
        Literal["video", "pairs"],
        typer.Option(help="video: each test clip from its first frame; pairs: those of --pairs."),
    ] = "video"
    pairs: Annotated[
        Path | None, typer.Option(help="CSV source,driving, for --protocol pairs.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="First clips, or pairs, only.")] = None
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "fp32"
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the result; by default results/CHECKPOINT-PROTOCOL.",
            callback=writable_folder,
        ),
    ] = None


class Work(NamedTuple):
    """Units that a protocol goes through."""

    units: Sequence[Unit]
    coverage: Coverage
    conditions: dict[str, Any]  # of the protocol alone


@app.command()
@options_from_dataclasses
def reconstruct(*, options: Options, measuring: MeasureOptions) -> int:
    """Measure how well a checkpoint reconstructs people that it was not trained on."""
    parse_metrics(measuring.metrics)
    if options.overrides and options.config is None:
        raise InputError("--set changes a --config: name one.")
    checkpoint = options.checkpoint
    if options.config is None:
        config = checkpoint_config(checkpoint)
    else:
        config = load_config(options.config, options.overrides or [])
    name = f"{checkpoint.name.partition('.')[0]}-{options.protocol}"
    output = options.output or Path("results", name)
    data = config.data
    if options.root is not None:
        data = data.model_copy(update={"source": "files", "root": options.root})
    weights = weights_file(checkpoint)
    folder = None if isinstance(data.root, str) else data.root
    require_apart(output, weights, folder, options.pairs, measuring.openface, measuring.arcface)
    with joined_processes() as processes:
        animator = Animator.from_checkpoint(
            checkpoint,
            config=config.model,
            size=data.frame_size,
            resize_mode="squash",  # as in training
            device=measuring.device,
            precision=options.precision,
        )
        list_work = video_work if options.protocol == "video" else pairs_work
        units, coverage, conditions = list_work(data, options, measuring, animator.fit)
        height, width = animator.size
        return Evaluation(
            units=units,
            coverage=coverage,
            inputs=MetricInputs(animator.device, measuring, network=animator),
            protocol=options.protocol,
            conditions={
                "checkpoint": str(checkpoint),
                "checkpoint_sha256": file_sha256(weights),
                **conditions,
                "motion": "absolute",
                "size": f"{width} x {height}",
                "precision": animator.checked_precision(first_pictures(units)),
                "limit": options.limit,
            },
            output=output,
            processes=processes,
            render=Renderer(animator),
        ).measure()


def video_work(data: DataConfig, options: Options, measuring: MeasureOptions, fit: Resize) -> Work:
    """List every clip of the test split, driven from its first frame by all of its frames."""
    if options.pairs is not None:
        raise InputError("--pairs belongs to --protocol pairs.")
    clips, unreadable = survey_clips(data, "test")
    require_own_names(clips)
    if unreadable and measuring.strict:
        reasons = "; ".join(unreadable.values())
        raise InputError(f"{counted(len(unreadable), 'unreadable clip')}: {reasons}")
    units = [clip_unit(clip, fit, measuring.landmarks) for clip in clips[: options.limit]]
    coverage = ClipCoverage(listed=len(clips) + len(unreadable), used=0, dropped=unreadable)
    return Work(units, Coverage(clips=coverage, pairs=None), conditions={})


def pairs_work(data: DataConfig, options: Options, measuring: MeasureOptions, fit: Resize) -> Work:
    """Group the pairs of a list into units of one driving clip."""
    if options.pairs is None:
        raise InputError("--protocol pairs needs --pairs CSV.")
    pair_list = read_pair_list(options.pairs, data.folder)
    if measuring.strict:
        pair_list.require_all()
    unsuited = {pair.name: why for pair in pair_list.pairs if (why := reason_without_truth(pair))}
    pairs = [pair for pair in pair_list.pairs if pair.name not in unsuited][: options.limit]
    if not pairs:
        name, why = next(iter(unsuited.items()))
        raise InputError(f"{options.pairs} holds no pair to reconstruct: {name}: {why}")
    units = pair_units(pairs, fit, measuring.landmarks)
    coverage = Coverage(
        clips=ClipCoverage(listed=len(units), used=0, dropped={}),
        pairs=PairCoverage(
            rows=pair_list.num_rows,
            duplicates=pair_list.num_duplicates,
            used=0,
            missing={**pair_list.missing, **unsuited},
        ),
    )
    conditions = {"pairs": str(options.pairs), "pairs_sha256": pair_list.sha256}
    return Work(units, coverage, conditions)


def reason_without_truth(pair: Pair) -> str | None:
    """Say why the driving frame of a pair is not the truth for its result; None where it is."""
    if isinstance(pair.driving, Clip):
        return "the driving side is a whole clip: animate it with animate.py pairs"
    if not pair.same_identity:
        return "two people have no true frame to compare with: animate it with animate.py pairs"
    return None


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
