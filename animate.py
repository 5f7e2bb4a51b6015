"""Animates a portrait: a source picture moves as the face in a driving video does.

    python animate.py --checkpoint C --source PICTURE --driving VIDEO --output result.mp4

From Python: ``Animator`` takes frames from memory, ``animate_file`` from files, and
``animate_pairs`` goes through a list of files with one network.
"""

import itertools
import logging
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import typer
from tqdm import tqdm

from config import load_config
from config.command_line import run
from datasets.pair_list import read_pair_list
from datasets.video import frames_at, open_writer, probe, read_frames, read_image
from evaluation.landmarks import FaceAlignmentLandmarks, Landmarks
from evaluation.metric import Unavailable
from modules.animator import BATCH_SIZE, Animator, Fit, Motion, batches
from modules.errors import InputError
from modules.motion_transfer import shape_distances

BestFrame = int | Literal["auto"]

app = typer.Typer(add_completion=False)
logger = logging.getLogger(__name__)


class Options(NamedTuple):
    """How a source is animated, whatever the files."""

    motion: Motion = "relative"
    adapt_scale: bool = False  # relative motion grows with the source's face
    best_frame: BestFrame = 0  # the driving frame that relative motion counts from
    panels: bool = False  # source, driving and result side by side
    batch_size: int = BATCH_SIZE


def animate_file(
    animator: Animator, source: Path, driving: Path, output: str, options: Options
) -> None:
    """Writes the picture ``source``, animated by the video, folder or picture ``driving``.

    ``output`` is a .mp4 or .gif with the rate (and, in a .mp4, the sound) of the driving video,
    or a folder of PNG where it ends in "/".
    """
    portrait, video = animator.fit(read_image(source)), probe(driving)
    initial = None
    if options.motion == "relative" and options.best_frame != 0:
        initial = initial_frame(animator, portrait, driving, options.best_frame)
    # Two readers of one stream: the writer's is at most a batch behind the network's.
    driving_frames, frames = itertools.tee(read_frames(driving))
    results = animator.animate(
        portrait,
        (frame.image for frame in frames),
        motion=options.motion,
        adapt_scale=options.adapt_scale,
        initial=initial,
        batch_size=options.batch_size,
    )
    progress = tqdm(results, total=video.num_frames, unit="frame", disable=None)
    with open_writer(output, video.rate, driving if video.has_audio else None) as writer:
        for frame, result in zip(driving_frames, progress, strict=True):
            shown = [portrait, animator.fit(frame.image)] if options.panels else []
            time = frame.time if video.variable_rate else None
            writer.write(np.hstack([*shown, result]), time)
    logger.info("Written: %s", output)


def initial_frame(
    animator: Animator, portrait: np.ndarray, driving: Path, best_frame: BestFrame
) -> np.ndarray | None:
    """The driving frame that relative motion counts from; None for the first.

    "auto" is the frame whose facial landmarks are arranged most like the source's or, where no
    face is found, the network's own keypoints.
    """
    if best_frame != "auto":
        (image,) = frames_at(driving, [best_frame])
        return image
    ways = {
        "facial landmarks": landmark_detector(str(animator.device)),
        "the network's own keypoints": lambda frames: (
            animator.detect(frames).positions.cpu().numpy()
        ),
    }
    for way, landmarks in ways.items():
        if landmarks and (found := nearest_frame(animator, portrait, driving, landmarks)):
            number, image = found
            logger.info("Best frame by %s: %d.", way, number)
            return image
    logger.warning(
        "No driving frame can be compared with the source: motion counts from the first."
    )
    return None


@cache
def landmark_detector(device: str) -> Landmarks | None:
    """What finds facial landmarks, or None where its weights cannot be had."""
    try:
        return FaceAlignmentLandmarks(device)
    except Unavailable as error:
        logger.warning("No facial landmarks (%s).", error)
        return None


def nearest_frame(
    animator: Animator, portrait: np.ndarray, driving: Path, landmarks: Landmarks
) -> tuple[int, np.ndarray] | None:
    """The number and picture of the driving frame whose landmarks are most like the source's.

    None where the source, or every driving frame, is without landmarks.
    """
    (target,) = landmarks([portrait])
    if np.isnan(target).any():
        return None
    nearest, found = np.inf, None
    start = 0
    for batch in batches((frame.image for frame in read_frames(driving)), BATCH_SIZE):
        distances = shape_distances(landmarks([animator.fit(image) for image in batch]), target)
        i = int(distances.argmin())
        if distances[i] < nearest:
            nearest, found = distances[i], (start + i, batch[i])
        start += len(batch)
    return found


def animate_pairs(animator: Animator, pairs: Path, output: Path, options: Options) -> list[str]:
    """Animates every pair of a CSV file into a folder; returns what failed, a sentence each.

    The results are named after their pairs: a video, or a folder of one PNG where the driving
    file is a picture.
    """
    todo = read_pair_list(pairs)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output} cannot be made a folder: {error.strerror}.") from error
    failures = []
    for number, (name, pair) in enumerate(todo.items(), start=1):
        logger.info("Pair %d of %d: %s", number, len(todo), name)
        try:
            best_frame = options.best_frame
            if pair.best_frame:
                best_frame = parse_best_frame(pair.best_frame)
            ending = "/" if probe(pair.driving).num_frames == 1 else ".mp4"
            animate_file(
                *(animator, pair.source, pair.driving, f"{output / name}{ending}"),
                options._replace(best_frame=best_frame),
            )
        except InputError as error:
            failures.append(f"{name}: {error}")
    return failures


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
    output: Annotated[str, typer.Option(help=".mp4, .gif, or FOLDER/ for PNG frames.")],
    source: Annotated[Path | None, typer.Option(help="The picture to animate.")] = None,
    driving: Annotated[Path | None, typer.Option(help="Video, folder or picture.")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV source,driving[,best_frame] instead of one pair.")
    ] = None,
    motion: Motion = "relative",
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
    batch_size: Annotated[int, typer.Option(min=1, help="Frames rendered at once.")] = BATCH_SIZE,
    config: Annotated[
        str | None, typer.Option(help="For weights that are neither ours nor as published.")
    ] = None,
    fit: Annotated[Fit, typer.Option(help="What to do with pictures of another shape.")] = "crop",
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the result; as trained if left out.")
    ] = None,
) -> None:
    """Animate a source picture by a driving video."""
    if (pairs is None) == (source is None or driving is None):
        raise InputError("Give either --source and --driving, or --pairs.")
    if motion == "absolute" and (adapt_scale or best_frame != "0"):
        raise InputError(
            "--adapt-scale and --best-frame need relative motion: leave them out, or choose "
            "--motion relative."
        )
    options = Options(motion, adapt_scale, parse_best_frame(best_frame), panels, batch_size)
    settings = load_config(config) if config else None
    animator = Animator.from_checkpoint(
        checkpoint,
        config=settings.model if settings else None,
        size=size or (settings.data.size if settings else None),
        fit=fit,
        device=device,
        precision=precision,
    )
    if pairs is None:
        animate_file(animator, source, driving, output, options)
        return
    if failures := animate_pairs(animator, pairs, Path(output), options):
        typer.echo("\n".join([f"{len(failures)} pairs failed:", *failures]), err=True)
        raise typer.Exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
