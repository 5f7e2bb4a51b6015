"""Trains MCNet from a configuration, or animates a list of pairs.

python run.py --config demo.yaml
torchrun --nproc_per_node 8 run.py --config vox.yaml
python run.py --mode animate --checkpoint C --pairs pairs.csv --output FOLDER
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from config.command_line import run
from datasets.settings import DataConfig
from modules.errors import InputError

app = typer.Typer(add_completion=False)


@app.command()
def command(
    *,
    config: Annotated[
        str | None, typer.Option(help="A file, or the name of one in config/.")
    ] = None,
    mode: Literal["train", "animate"] = "train",
    checkpoint: Annotated[
        str | None,
        typer.Option(help="'last' resumes the run; a path begins from those weights, or animates."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="train.batch_size=4, say; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run, instead of the config's.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder; runs/NAME if left out.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV source,driving[,best_frame] to animate.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where the clips of the pairs are.")] = None,
) -> int:
    """Train, or animate a list of pairs."""
    overrides = overrides or []
    if mode == "animate":
        return animate_list(config, checkpoint, overrides, pairs=pairs, root=root, output=output)
    if config is None:
        raise InputError("Training needs --config, demo.yaml say.")
    return train_run(config, checkpoint, overrides + ([f"name={name}"] if name else []), output)


def train_run(
    config_name: str, checkpoint: str | None, overrides: list[str], output: Path | None
) -> int:
    """Train and show the result; 128 + its number where a signal ended the training."""
    from config import load_config
    from modules.training_state import find_checkpoint
    from train import Training

    config = load_config(config_name, overrides)
    folder = output or Path("runs") / config.name
    training = Training(config, folder, find_checkpoint(folder, checkpoint))
    outcome = training.run()
    if not training.accelerator.is_main_process:
        return 0
    if outcome.signal is not None:
        typer.echo(f"Stopped and saved {outcome.checkpoint}: go on with --checkpoint last.")
        return 128 + outcome.signal
    animation = folder / "animation.mp4"
    animate_unseen(config.data, outcome.checkpoint, animation)
    typer.echo(f"Checkpoint: {outcome.checkpoint}\nAnimation of an unseen face: {animation}")
    typer.echo(
        f"PSNR on unseen clips: {outcome.scores.psnr:.2f} dB; "
        f"of the source, copied: {outcome.copy_source.psnr:.2f} dB"
    )
    return 0


def animate_unseen(data: DataConfig, checkpoint: Path, output: Path) -> None:
    """Animate the first person of the test split by the clip of another."""
    import imageio.v3 as imageio

    from animate import Animator, Options, animate_file
    from datasets.clips import clip_frames, find_clips

    clips = find_clips(data, "test")
    others = [clip for clip in clips if clip.identity != clips[0].identity]
    source = output.with_name("animation_source.png")
    imageio.imwrite(source, clip_frames(clips[0], [0])[0])
    animator = Animator.from_checkpoint(checkpoint)
    driving = (others or clips)[0].path
    animate_file(animator, source, driving, str(output), Options(panels=True))


def animate_list(
    config_name: str | None,
    checkpoint: str | None,
    overrides: list[str],
    *,
    pairs: Path | None,
    root: Path | None,
    output: Path | None,
) -> int:
    """Animate the rows of a CSV file with one network; 1 if some of them failed."""
    from animate import Animator, Options, animate_pairs, report
    from config import load_config
    from datasets.pair_list import read_pair_list

    if checkpoint is None or pairs is None or output is None:
        raise InputError("--mode animate needs --checkpoint, --pairs and --output.")
    pair_list = read_pair_list(pairs, root)
    config = load_config(config_name, overrides) if config_name else None
    animator = Animator.from_checkpoint(checkpoint, config=config and config.model)
    problems = animate_pairs(animator, pair_list, output, Options(), checkpoint=checkpoint)
    return report(problems, output)


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
