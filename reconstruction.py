"""Self-reenactment of the test split, measured: the paper's metrics, with what stands behind them.

    python reconstruction.py --checkpoint C --config vox.yaml --root DIR
    python reconstruction.py --checkpoint C --config vox.yaml --protocol pairs --pairs CSV
    torchrun --nproc_per_node 8 reconstruction.py ...

Run again after an interruption, it goes on where it stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer

from animation.animator import Animator
from config import Config, checkpoint_config, load_config
from datasets.clips import Clip, require_own_names, survey_clips
from datasets.config import DataConfig
from datasets.pair_list import Pair, read_pair_list
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
    conditions,
    finish,
)
from evaluation.evaluator import Evaluation, Request
from evaluation.metrics.suite import EvaluatedNetwork, WeightFiles, build_suite, parse_metrics
from evaluation.processes import joined_processes
from evaluation.results.result import ClipCoverage, Coverage, PairCoverage
from evaluation.self_reenactment import ClipUnit, Renderer, first_pictures, pair_units
from evaluation.work_units import Unit
from modules.checkpoints import weights_file
from utils.command_line import run, writable_folder
from utils.errors import InputError
from utils.files import file_sha256, require_apart
from utils.wording import counted

Protocol = Literal["video", "pairs"]

app = typer.Typer(add_completion=False)


class Work(NamedTuple):
    """What a protocol goes through."""

    units: Sequence[Unit]
    coverage: Coverage
    facts: dict[str, Any]  # for the conditions of the result


class Options(NamedTuple):
    """What is measured of a checkpoint, and how."""

    protocol: Protocol = "video"
    pairs: Path | None = None
    root: Path | None = None
    metrics: str = "all"
    limit: int | None = None
    files: WeightFiles = WeightFiles()
    landmarks: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    batch_size: int = BATCH_SIZE
    seed: int = 0
    strict: bool = False


def reconstruct(checkpoint: Path, config: Config | None, options: Options, output: Path) -> int:
    """Measures a checkpoint on the test split and writes the result into a folder.

    Without a ``config`` that in the checkpoint is taken.  Returns the exit code: 1 where, with
    ``strict``, something could not be measured.
    """
    config = config or checkpoint_config(checkpoint)
    root = options.root or config.data.root
    folder = None if isinstance(root, str) else root
    require_apart(output, weights_file(checkpoint), folder, options.pairs, *options.files)
    wanted = parse_metrics(options.metrics)
    with joined_processes() as processes:
        animator = Animator.from_checkpoint(
            checkpoint,
            config=config.model,
            size=config.data.frame_size,
            resize_mode="squash",  # as the training does
            device=options.device,
            precision=options.precision,
        )
        data = config.data
        if options.root is not None:
            data = data.model_copy(update={"source": "files", "root": options.root})
        work = video_work if options.protocol == "video" else pairs_work
        units, coverage, facts = work(data, options, animator)
        suite = build_suite(
            *(wanted, animator.device, options.files),
            has_source=True,
            cross_identity=False,
            network=EvaluatedNetwork(animator, checkpoint),
            given_landmarks=options.landmarks,
        )
        height, width = animator.size
        request = Request(
            protocol=options.protocol,
            cross_identity=False,
            conditions={
                "checkpoint": str(checkpoint),
                "checkpoint_sha256": file_sha256(weights_file(checkpoint)),
                **facts,
                "landmarks": None if options.landmarks is None else str(options.landmarks),
                "motion": "absolute",
                "size": f"{width} x {height}",
                "precision": animator.checked_precision(first_pictures(units)),
                "limit": options.limit,
                "seed": options.seed,
                **conditions(suite, animator.device),
            },
            coverage=coverage,
            seed=options.seed,
            batch_size=options.batch_size,
        )
        evaluation = Evaluation(
            units, Renderer(animator), suite, request, output=output, processes=processes
        )
        return finish(evaluation.run(), output, options.strict)


def video_work(data: DataConfig, options: Options, animator: Animator) -> Work:
    """Every clip of the test split, driven from its first frame by all of its frames."""
    if options.pairs is not None:
        raise InputError("--pairs belongs to --protocol pairs.")
    clips, unreadable = survey_clips(data, "test")
    require_own_names(clips)
    listed = len(clips) + len(unreadable)
    if unreadable and options.strict:
        reasons = "; ".join(unreadable.values())
        raise InputError(f"{counted(len(unreadable), 'unreadable clip')}: {reasons}")
    units = [ClipUnit(clip, animator.fit, options.landmarks) for clip in clips[: options.limit]]
    coverage = Coverage(clips=ClipCoverage(listed=listed, used=0, dropped=unreadable), pairs=None)
    return Work(units, coverage, {})


def pairs_work(data: DataConfig, options: Options, animator: Animator) -> Work:
    """The pairs of a list; those of one driving clip are a unit."""
    if options.pairs is None:
        raise InputError("--protocol pairs needs --pairs CSV.")
    pair_list = read_pair_list(options.pairs, data.folder)
    if options.strict:
        pair_list.require_all()
    unsuited = {pair.name: why for pair in pair_list.pairs if (why := unsuited_for_truth(pair))}
    pairs = [pair for pair in pair_list.pairs if pair.name not in unsuited][: options.limit]
    if not pairs:
        name, why = next(iter(unsuited.items()))
        raise InputError(f"{options.pairs} holds no pair to reconstruct: {name}: {why}")
    units = pair_units(pairs, animator.fit, options.landmarks)
    coverage = Coverage(
        clips=ClipCoverage(listed=len(units), used=0, dropped={}),
        pairs=PairCoverage(
            rows=pair_list.num_rows,
            duplicates=pair_list.num_duplicates,
            used=0,
            missing={**pair_list.missing, **unsuited},
        ),
    )
    return Work(units, coverage, {"pairs": str(options.pairs), "pairs_sha256": pair_list.sha256})


def unsuited_for_truth(pair: Pair) -> str | None:
    """Why the driving frame of a pair is not what its result should look like."""
    if isinstance(pair.driving, Clip):
        return "the driving side is a whole clip: animate it with animate.py pairs"
    if not pair.same_identity:
        return "two people have no true frame to compare with: animate it with animate.py pairs"
    return None


@app.command()
def command(
    *,
    checkpoint: Annotated[Path, typer.Option(help="Ours (a run) or a published .pth.tar.")],
    config: Annotated[
        str | None, typer.Option(help="A file, or one of config/; else that in the checkpoint.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Of the config: data.size=256, say.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Data folder, instead of data.root.")] = None,
    protocol: Protocol = "video",
    pairs: Annotated[Path | None, typer.Option(help="CSV source,driving, for pairs.")] = None,
    metrics: MetricsOption = "all",
    limit: Annotated[int | None, typer.Option(min=1, help="First clips, or pairs, only.")] = None,
    openface: OpenFaceOption = None,
    arcface: ArcFaceOption = None,
    landmarks: LandmarksOption = None,
    device: DeviceOption = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "fp32",
    batch_size: BatchOption = BATCH_SIZE,
    seed: SeedOption = 0,
    strict: StrictOption = False,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder; results/CHECKPOINT-PROTOCOL if left out.", callback=writable_folder
        ),
    ] = None,
) -> int:
    """Measure how well a checkpoint reconstructs people that it was not trained on."""
    if overrides and config is None:
        raise InputError("--set changes a --config: name one.")
    options = Options(
        protocol=protocol,
        pairs=pairs,
        root=root,
        metrics=metrics,
        limit=limit,
        files=WeightFiles(openface, arcface),
        landmarks=landmarks,
        device=device,
        precision=precision,
        batch_size=batch_size,
        seed=seed,
        strict=strict,
    )
    loaded = None if config is None else load_config(config, overrides or [])
    return reconstruct(checkpoint, loaded, options, output or default_output(checkpoint, protocol))


def default_output(checkpoint: Path, protocol: str) -> Path:
    return Path("results") / f"{checkpoint.name.partition('.')[0]}-{protocol}"


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
