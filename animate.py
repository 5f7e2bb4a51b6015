"""Animates a portrait: a source picture moves as the face in a driving video does.

    python animate.py --source PICTURE --driving VIDEO --output result.mp4
    python animate.py --source PICTURE --driving talking --output result.mp4
    python animate.py --driving VIDEO --save-motion motion.npz
    python animate.py --pairs CSV --root DIR --output FOLDER

Without a --checkpoint by the small network that comes with the project.  From Python: ``Animator``
is a network, ``animate_frames`` takes frames from memory, ``animate_file`` from files, and
``animate_pairs`` goes through a list with one network.
"""

import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from animation.animate_file import Timing, animate_file, save_motion
from animation.animate_frames import animate_frames
from animation.animate_pairs import animate_pairs, report
from animation.animator import Animator, Motion
from animation.best_frame import BestFrame, Options
from animation.bundled import bundled_portrait, bundled_weights, driving_path
from animation.cropper import Fitting, Framing, chosen_framing, training_face_crop
from animation.driving import ALL, require_driving
from animation.motion_template import require_template_name
from animation.motion_transfer import AS_DRIVEN, MotionStrength
from animation.pair_folder import Format
from config import load_config
from datasets.pair_list import read_pair_list
from media.pictures import picture_size
from media.video import STILL_RATE
from media.writers import require_output
from modules.face_landmarks import PARTS
from utils.command_line import run
from utils.errors import InputError
from utils.files import require_apart, require_folder

__all__ = [
    "Animator",
    "Framing",
    "MotionStrength",
    "Options",
    "Timing",
    "animate_file",
    "animate_frames",
    "animate_pairs",
    "report",
    "save_motion",
    "training_face_crop",
]

app = typer.Typer(add_completion=False)


def parse_best_frame(text: str | None) -> BestFrame | None:
    """The number of a frame, counted from 0, "auto", or None where none is named."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InputError(f"The best frame is auto or the number of a frame: found {text!r}.")
    return int(text)


def parse_parts(text: str | None) -> tuple[str, ...]:
    """The parts of a face between commas; all of them for None."""
    return tuple(PARTS) if text is None else tuple(part.strip() for part in text.split(","))


def parse_frames(text: str) -> slice:
    """START:END, counted from 0, END not among them; either may be left out."""
    ends = text.split(":")
    if len(ends) != 2 or not all(end.isdecimal() or not end for end in ends):
        raise InputError(f"Frames are START:END, 10:130 say: found {text!r}.")
    start, end = (int(end) if end else None for end in ends)
    return slice(start, end)


def parse_rate(text: str, driving: Path | None) -> Fraction:
    """The frames a second at which a folder drives.  Raises InputError for all else that does."""
    if driving is None or not driving.is_dir():
        raise InputError("--fps belongs to --driving FOLDER: all else has times of its own.")
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 100) <= rate <= 1000:
        raise InputError(f"--fps is a number of frames a second, 0.01 to 1000: found {text!r}.")
    return rate


def require_inputs(
    source: Path | None, driving: Path, frames: slice, best_frame: BestFrame | None
) -> None:
    """Raises InputError where files cannot be animated, as far as that is seen without work."""
    require_driving(driving, frames, best_frame if isinstance(best_frame, int) else 0)
    if source is not None:
        picture_size(source)


def require_outputs(output: str | None, save_motion_to: Path | None, *, of_pairs: bool) -> None:
    """Raises InputError where what is asked for cannot be written, before any work."""
    if save_motion_to is not None:
        require_template_name(save_motion_to)
    if output is not None and of_pairs:
        require_folder(Path(output))
    elif output is not None:
        require_output(output)


@app.command()
def command(
    *,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            help="Ours (a folder or .safetensors) or a published .pth.tar; the small network that "
            "comes with the project if left out."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(help=".mp4, .gif, or FOLDER/ for PNG frames; of --pairs, a folder."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(help="The picture to animate; scikit-image's astronaut if left out."),
    ] = None,
    driving: Annotated[
        str | None,
        typer.Option(
            help="Video, folder or picture; or a motion: a file that --save-motion wrote, or one "
            "of the project's: talking, nodding, expressions."
        ),
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="START:END, the part of the driving video to use, counted from 0; sound is kept "
            "where it begins with the video."
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(help="Frames a second of a driving folder: 30, 29.97 or 30000/1001; else 25."),
    ] = None,
    save_motion_to: Annotated[
        Path | None,
        typer.Option(
            "--save-motion", help="A .npz for --driving: the driving motion without pictures."
        ),
    ] = None,
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
        str | None,
        typer.Option(
            help="Frame that relative motion counts from: a number, or auto; if left out, the "
            "first in which the face is found, or the one with the most neutral face where the "
            "network finds landmarks."
        ),
    ] = None,
    head: Annotated[
        float, typer.Option(help="Strength of the head's relative motion, 0 to 2.")
    ] = 1.0,
    expression: Annotated[
        float,
        typer.Option(help="Strength of relative expressions, 0 to 2 (networks with landmarks)."),
    ] = 1.0,
    only: Annotated[
        str | None,
        typer.Option(
            help="The parts of the face whose expression is carried over, mouth,eyes for example: "
            "of jaw, brows, nose, eyes and mouth (networks with landmarks)."
        ),
    ] = None,
    panels: Annotated[
        bool,
        typer.Option(
            "--panels", help="Source, driving (of a motion there is none) and result side by side."
        ),
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
        Fitting | None,
        typer.Option(
            help="What to do with pictures of another size; training: cut the faces of all "
            "pictures as those that the network was trained on, and undo it in the output. If "
            "left out: training for pictures with a face if the checkpoint says how, else crop."
        ),
    ] = None,
    paste: Annotated[
        bool,
        typer.Option("--paste", help="Fit as in training: the face moves in the whole picture."),
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the result; as trained if left out.")
    ] = None,
) -> int:
    """Animate a source picture by a driving video or motion, or a list of pairs."""
    if (pairs is None) == (driving is None) or (pairs and source):
        raise InputError("Give either --driving, with a --source, or --pairs.")
    if output is None and (save_motion_to is None or pairs or source):
        raise InputError("Give --output: only --save-motion, without a --source, goes without.")
    strength = MotionStrength(head, expression, parse_parts(only))
    moves_so = adapt_scale or best_frame is not None or strength != AS_DRIVEN
    if motion == "absolute" and moves_so:
        raise InputError(
            "--adapt-scale, --best-frame, --head, --expression and --only need relative motion: "
            "leave them out, or choose --motion relative."
        )
    if pairs is not None and (frames is not None or save_motion_to):
        raise InputError("--frames and --save-motion belong to --driving.")
    options = Options(
        motion, adapt_scale, parse_best_frame(best_frame), panels, batch_size, strength
    )
    if pairs is None and (root is not None or strict or format != "png"):
        raise InputError("--root, --strict and --format belong to --pairs.")
    pair_list = read_pair_list(pairs, root) if pairs else None
    if pair_list and strict:
        pair_list.require_all()
    part = ALL if frames is None else parse_frames(frames)
    driving_file = None if driving is None else driving_path(driving)
    inputs = [source, driving_file, *(pair_list.inputs if pair_list else [])]
    if output is not None:
        require_apart(output, *inputs, save_motion_to)
    if save_motion_to is not None:
        require_apart(save_motion_to, *inputs)
    still_rate = STILL_RATE if fps is None else parse_rate(fps, driving_file)
    if driving_file is not None:
        require_inputs(source, driving_file, part, options.best_frame)
    require_outputs(output, save_motion_to, of_pairs=pairs is not None)
    settings = load_config(config) if config else None
    checkpoint = checkpoint or bundled_weights()
    face_crop = settings.data.face_crop if settings else None
    framing = chosen_framing(fit, paste, checkpoint, face_crop)
    animator = Animator.from_checkpoint(
        checkpoint,
        config=settings.model if settings else None,
        size=size or (settings.data.size if settings else None),
        fit="crop" if fit is None or fit == "training" else fit,
        device=device,
        precision=precision,
    )
    if pair_list is not None:
        assert output is not None
        folder = Path(output)
        problems = animate_pairs(
            *(animator, pair_list, folder, options),
            format=format,
            checkpoint=checkpoint,
            framing=framing,
        )
        return report(problems, folder)
    assert driving_file is not None
    if output is not None:
        portrait = source or bundled_portrait()
        animate_file(
            *(animator, portrait, driving_file, output, options),
            framing=framing,
            frames=part,
            still_rate=still_rate,
            motion_to=save_motion_to,
        )
    elif save_motion_to is not None:
        save_motion(
            *(animator, driving_file, save_motion_to),
            framing=framing,
            frames=part,
            still_rate=still_rate,
            batch_size=batch_size,
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
