"""Trains MCNet from a configuration, or does what another script does.

python run.py --config demo.yaml
torchrun --nproc_per_node 8 run.py --config vox.yaml
python run.py --mode reconstruction ...  # the options of reconstruction.py
python run.py --mode animate ...         # the options of animate.py
python run.py --mode export ...          # the options of export.py
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import typer

from config.command_line import run
from datasets.settings import DataConfig
from modules.errors import InputError

Mode = Literal["train", "reconstruction", "animate", "export"]

app = typer.Typer(add_completion=False)


@app.command()
def command(
    *,
    config: Annotated[
        str | None, typer.Option(help="A file, or the name of one in config/.")
    ] = None,
    mode: Annotated[
        Mode, typer.Option(help="The others take the options of the scripts of that name.")
    ] = "train",
    checkpoint: Annotated[
        str | None, typer.Option(help="'last' resumes the run; a path begins from those weights.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="train.batch_size=4, say; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run, instead of the config's.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder; runs/NAME if left out.")] = None,
) -> int:
    """Train, and animate an unseen face with the result."""
    assert mode == "train"  # main takes the others
    if config is None:
        raise InputError("Training needs --config, demo.yaml say.")
    named = [f"name={name}"] if name else []
    return train_run(config, checkpoint, [*(overrides or []), *named], output)


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
    typer.echo(f"On unseen clips: {outcome.summary}")
    return 0


def animate_unseen(data: DataConfig, checkpoint: Path, output: Path) -> None:
    """Animate the first person of the test split by the clip of another."""
    import imageio.v3 as imageio

    from animate import Animator, Options, animate_file
    from datasets.training_clips import training_clips

    clips = training_clips(data.model_copy(update={"decoded": None}), "test")  # in their own size
    others = [clip for clip in clips if clip.identity != clips[0].identity]
    source = output.with_name("animation_source.png")
    imageio.imwrite(source, clips[0].frames([0])[0])
    animator = Animator.from_checkpoint(checkpoint)
    with TemporaryDirectory() as folder:
        driving = (others or clips)[0].as_file(Path(folder))
        animate_file(animator, source, driving, str(output), Options(panels=True))


def split_mode(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of ``--mode``, and the arguments without it."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--mode="):
            return argument.removeprefix("--mode="), arguments[:index] + arguments[index + 1 :]
        if argument == "--mode" and arguments[index + 1 :]:
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
    return None, arguments


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    mode, others = split_mode(arguments)
    if mode in ("animate", "reconstruction", "export"):
        return import_module(mode).main(others)
    return run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
