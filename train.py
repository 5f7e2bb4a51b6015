"""Train MCNet on pairs of frames, and write checkpoints and scores.

    python train.py --config demo.yaml
    torchrun --nproc_per_node 8 train.py --config vox.yaml

Ranks are started by plain ``torchrun`` and need a run folder that all of them see.  The loop is
``training.trainer``, one step of it ``training.train_step``.
"""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import imageio.v3 as imageio
import typer

from animation.animate_file import AnimationOptions, animate_file
from animation.animator import Animator
from config import load_config
from datasets.config import DataConfig
from datasets.training_clips import training_clips
from training.distributed import start_processes
from training.run_checkpoints import checkpoints, find_checkpoint, sole_training
from training.trainer import Trainer
from utils.command_line import describe, run, writable_folder
from utils.errors import OutputError

app = typer.Typer(add_completion=False)


@app.command()
def command(
    *,
    config: Annotated[
        str, typer.Option(help="YAML file, or the name of one in config/, for example demo.yaml.")
    ],
    checkpoint: Annotated[
        str | None, typer.Option(help="'last' resumes the run; a path starts from its weights.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="For example train.batch_size=4; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run, if not the config's.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; runs/NAME if left out.", callback=writable_folder),
    ] = None,
    animation: Annotated[
        bool, typer.Option(help="At the end, animate an unseen face with the result.")
    ] = True,
) -> int:
    """Train, and animate an unseen face with the result.

    If a signal stops the training, exits with 128 + its number.
    """
    named = [f"name={name}"] if name else []
    settings = load_config(config, [*(overrides or []), *named])
    folder = output or Path("runs") / settings.name
    accelerator = start_processes(settings.train)
    with sole_training(folder) if accelerator.is_main_process else nullcontext():
        trainer = Trainer(settings, folder, accelerator, find_checkpoint(folder, checkpoint))
        try:
            result = trainer.run()
        except (OSError, OutputError) as error:
            if (message := describe(error)) is None:
                raise
            raise OutputError(f"{message} {what_is_kept(folder)}") from error
        accelerator.wait_for_everyone()
        accelerator.end_training()
        if not accelerator.is_main_process:
            return 0
        if result.signal is not None:
            typer.echo(f"Stopped and saved {result.checkpoint}: go on with --checkpoint last.")
            return 128 + result.signal
        typer.echo(f"Checkpoint: {result.checkpoint}")
        if animation:
            shown = folder / "animation.mp4"
            animate_unseen(settings.data, result.checkpoint, shown)
            typer.echo(f"Animation of an unseen face: {shown}")
        typer.echo(f"On unseen clips: {result.summary}")
    return 0


def what_is_kept(folder: Path) -> str:
    """Say from which checkpoint an interrupted run can go on."""
    if not (whole := checkpoints(folder)):
        return "No checkpoint was saved before."
    return f"{whole[-1]} is whole: make room, and go on from it with --checkpoint last."


def animate_unseen(data: DataConfig, checkpoint: Path, output: Path) -> None:
    """Animate the first person of the test split by the clip of another."""
    full_size = data.model_copy(update={"frame_cache": None})
    clips = training_clips(full_size, "test")
    others = [clip for clip in clips if clip.identity != clips[0].identity]
    source = output.with_name("animation_source.png")
    imageio.imwrite(source, clips[0].frames([0])[0])
    animator = Animator.from_checkpoint(checkpoint)
    with TemporaryDirectory() as folder:
        driving = (others or clips)[0].as_file(Path(folder))
        animate_file(animator, source, driving, str(output), AnimationOptions(panels=True))


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
