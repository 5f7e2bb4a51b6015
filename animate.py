"""Animates a portrait: a source picture moves as the face in a driving video does.

    python animate.py --checkpoint C --source PICTURE --driving VIDEO --output result.mp4
    python animate.py --checkpoint C --pairs CSV --root DIR --output FOLDER

From Python: ``Animator`` takes frames from memory, ``animate_file`` from files, and
``animate_pairs`` goes through a list with one network.
"""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import typer
from tqdm import tqdm

from config import load_config
from config.command_line import run
from datasets.background import behind
from datasets.geometry import Geometry
from datasets.pair_list import read_pair_list
from datasets.video import Frame, open_writer, probe, read_image
from evaluation.animate_pairs import animate_pairs, report
from evaluation.animation import WAITING, BestFrame, Options, animated, initial_frame
from evaluation.fitting import plain_fitting, training_fitting, training_geometry
from evaluation.pair_folder import Format
from modules.animator import Animator, Fit, Motion
from modules.errors import InputError

__all__ = [
    "Animator",
    "Options",
    "Timing",
    "animate_file",
    "animate_pairs",
    "report",
    "training_geometry",
]

app = typer.Typer(add_completion=False)
logger = logging.getLogger(__name__)


class Timing(NamedTuple):
    """How long an animation took from file to file, and for how long the network computed."""

    num_frames: int
    seconds: float
    network_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.num_frames} frames in {self.seconds:.1f} s "
            f"({self.num_frames / self.seconds:.1f} frames/s), "
            f"{self.network_seconds / self.seconds:.0%} of it in the network"
        )


def animate_file(
    animator: Animator,
    source: Path,
    driving: Path,
    output: str,
    options: Options,
    *,
    geometry: Geometry | None = None,
    paste: bool = False,
) -> Timing:
    """Writes the picture ``source``, animated by the video, folder or picture ``driving``.

    ``output`` is a .mp4 or .gif with the rate (and, in a .mp4, the sound) of the driving video,
    or a folder of PNG where it ends in "/".  With a ``geometry`` (see ``training_geometry``) both
    faces are cut as the training's were, and with ``paste`` the result is the whole picture.
    """
    if paste and (geometry is None or options.panels):
        raise InputError("--paste needs --fit training, and goes without --panels.")
    began, computed_before = time.perf_counter(), animator.busy.seconds
    picture, video = read_image(source), probe(driving)
    fitting = plain_fitting(animator)
    if geometry is not None:
        fitting = training_fitting(animator, geometry, source, driving, picture, paste=paste)
    portrait = fitting.source(picture)
    options = options._replace(motion=options.motion or "relative")
    initial = initial_frame(animator, portrait, driving, options, fit=fitting.driving)
    with open_writer(output, video.rate, driving if video.has_audio else None) as writer:

        def write(frame: Frame, result: np.ndarray) -> None:
            shown = [portrait, frame.image, result] if options.panels else [result]
            image = np.hstack([fitting.result(each) for each in shown])
            writer.write(image, frame.time if video.variable_rate else None)

        with (
            behind(write, WAITING) as hand_over,
            animated(animator, portrait, driving, initial, options, fit=fitting.driving) as results,
        ):
            for frame, result in tqdm(results, total=video.num_frames, unit="frame", disable=None):
                hand_over(frame, result)
    logger.info("Written: %s", output)
    timing = Timing(
        num_frames=writer.num_frames,
        seconds=time.perf_counter() - began,
        network_seconds=animator.busy.seconds - computed_before,
    )
    logger.info("%s.", timing)
    return timing


def parse_best_frame(text: str) -> BestFrame:
    """The number of a frame, counted from 0, or "auto"."""
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InputError(f"The best frame is auto or the number of a frame: found {text!r}.")
    return int(text)


@app.command()
def command(
    *,
    checkpoint: Annotated[Path, typer.Option(help="Ours (a folder) or a published .pth.tar.")],
    output: Annotated[
        str, typer.Option(help=".mp4, .gif, or FOLDER/ for PNG frames; of --pairs, a folder.")
    ],
    source: Annotated[Path | None, typer.Option(help="The picture to animate.")] = None,
    driving: Annotated[Path | None, typer.Option(help="Video, folder or picture.")] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="CSV source,driving[,best_frame] (or source,driving,frame, of clips)."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the clips of --pairs are: the folder of test/.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Render nothing where files of --pairs are missing.")
    ] = False,
    format: Annotated[
        Format, typer.Option(help="Of --pairs driven by clips: png is exact, mp4 for watching.")
    ] = "png",
    motion: Annotated[
        Motion | None,
        typer.Option(help="relative if left out; for --pairs, what their protocol prescribes."),
    ] = None,
    adapt_scale: Annotated[
        bool, typer.Option("--adapt-scale", help="Scale relative motion to the source's face.")
    ] = False,
    best_frame: Annotated[
        str, typer.Option(help="Frame that relative motion counts from: a number, or auto.")
    ] = "0",
    panels: Annotated[
        bool, typer.Option("--panels", help="Source, driving and result side by side.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16.")] = "auto",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames rendered at once; else by the device.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="For weights that are neither ours nor as published.")
    ] = None,
    fit: Annotated[
        Literal[Fit, "training"],
        typer.Option(
            help="What to do with pictures of another shape; training: cut the faces of all "
            "pictures as those that the network was trained on, and undo it in the output."
        ),
    ] = "crop",
    paste: Annotated[
        bool,
        typer.Option("--paste", help="With --fit training: the face moves in the whole picture."),
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the result; as trained if left out.")
    ] = None,
) -> int:
    """Animate a source picture by a driving video, or a list of pairs."""
    if (pairs is None) == (source is None or driving is None):
        raise InputError("Give either --source and --driving, or --pairs.")
    if motion == "absolute" and (adapt_scale or best_frame != "0"):
        raise InputError(
            "--adapt-scale and --best-frame need relative motion: leave them out, or choose "
            "--motion relative."
        )
    if pairs is not None and (fit == "training" or paste):
        raise InputError(
            "The frames of --pairs are as their protocol prescribes: leave out --fit training and "
            "--paste."
        )
    options = Options(motion, adapt_scale, parse_best_frame(best_frame), panels, batch_size)
    if pairs is None and (root is not None or strict or format != "png"):
        raise InputError("--root, --strict and --format belong to --pairs.")
    pair_list = read_pair_list(pairs, root) if pairs else None
    if pair_list and strict:
        pair_list.require_all()
    settings = load_config(config) if config else None
    geometry = None
    if fit == "training":
        geometry = (settings and settings.data.geometry) or training_geometry(checkpoint)
    animator = Animator.from_checkpoint(
        checkpoint,
        config=settings.model if settings else None,
        size=size or (settings.data.size if settings else None),
        fit="crop" if fit == "training" else fit,
        device=device,
        precision=precision,
    )
    if pair_list is None:
        assert source is not None
        assert driving is not None
        animate_file(animator, source, driving, output, options, geometry=geometry, paste=paste)
        return 0
    folder = Path(output)
    problems = animate_pairs(
        animator, pair_list, folder, options, format=format, checkpoint=checkpoint
    )
    return report(problems, folder)


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
