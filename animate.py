"""Animate a source picture: it moves as the face in a driving video does.

    python animate.py --source PICTURE --driving VIDEO --output result.mp4
    python animate.py --source PICTURE --driving talking --output result.mp4
    python animate.py --driving VIDEO --save-motion motion.npz
    python animate.py pairs CSV --root DIR --output FOLDER

Without a --checkpoint the small network that comes with the project is used.  From Python:
``Animator`` is a network, ``animate_frames`` takes frames from memory, ``animate_file`` from files,
and ``animate_pairs`` goes through a list with one network.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from animation.animate_file import (
    AnimationOptions,
    Timing,
    animate_file,
    animate_frames,
    save_motion,
)
from animation.animate_pairs import animate_pairs, report
from animation.animator import Animator
from animation.bundled import bundled_source, bundled_weights, driving_path
from animation.cropper import CropPolicy, FitOption, choose_policy, require_face_crop
from animation.driving import ALL, Reading, require_driving
from animation.motion_template import require_template_name
from animation.motion_transfer import MotionStrength
from animation.pair_folder import Format
from datasets.pair_list import read_pair_list
from media.pictures import picture_size
from media.video import STILL_RATE
from media.writers import require_output
from utils.command_line import (
    AnimatorOption,
    DeviceOption,
    PrecisionOption,
    options_from_dataclasses,
    run,
)
from utils.errors import InputError
from utils.files import require_apart, require_folder

__all__ = [
    "AnimationOptions",
    "Animator",
    "CropPolicy",
    "MotionStrength",
    "Timing",
    "animate_file",
    "animate_frames",
    "animate_pairs",
    "report",
    "require_face_crop",
    "save_motion",
]

app = typer.Typer(add_completion=False)


def parse_frames(text: str) -> slice:
    """Parse START:END, numbered from 0 and without END; either may be left out."""
    ends = text.split(":")
    if len(ends) != 2 or not all(end.isdecimal() or not end for end in ends):
        raise typer.BadParameter(f"Frames are START:END, for example 10:130: found {text!r}.")
    start, end = (int(end) if end else None for end in ends)
    return slice(start, end)


def parse_rate(text: str) -> Fraction:
    """Parse a number of frames per second, 0.01 to 1000."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 100) <= rate <= 1000:
        raise typer.BadParameter(
            f"--fps is a number of frames per second, 0.01 to 1000: found {text!r}."
        )
    return rate


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Files of one animation."""

    output: Annotated[str | None, typer.Option(help=".mp4, .gif, or FOLDER/ for PNG frames.")] = (
        None
    )
    source: Annotated[
        Path | None,
        typer.Option(help="The picture to animate; scikit-image's astronaut if left out."),
    ] = None
    driving: Annotated[
        str | None,
        typer.Option(
            help="Video, folder or picture; or a motion: a file that --save-motion wrote, or one "
            "of the project's: talking, nodding, expressions."
        ),
    ] = None
    frames: Annotated[
        slice | None,
        typer.Option(
            parser=parse_frames,
            metavar="START:END",
            help="The part of the driving video to use: frames numbered from 0, the end not "
            "included; sound is kept where it begins with the video.",
        ),
    ] = None
    fps: Annotated[
        Fraction | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="Frames per second of a driving folder: 30, 29.97 or 30000/1001; else 25.",
        ),
    ] = None
    save_motion: Annotated[
        Path | None,
        typer.Option(help="A .npz for --driving: the driving motion without pictures."),
    ] = None

    def require_complete(self) -> Path:
        """Return the driving file.  Raises InputError where options miss or do not go together."""
        if self.driving is None:
            raise InputError("Give --driving, with a --source, or the command pairs: see --help.")
        if self.output is None and (self.save_motion is None or self.source):
            raise InputError("Give --output: only --save-motion, without a --source, goes without.")
        driving = driving_path(self.driving)
        if self.fps is not None and not driving.is_dir():
            raise InputError("--fps belongs to --driving FOLDER: all else has times of its own.")
        return driving

    def require_possible(self, driving: Path, initial: int) -> None:
        """Raise InputError, before any work, where files cannot be read or written.

        Relative motion starts from the frame number ``initial``.
        """
        if self.output is not None:
            require_apart(self.output, self.source, driving, self.save_motion)
        if self.save_motion is not None:
            require_apart(self.save_motion, self.source, driving)
        require_driving(driving, self.frames or ALL, initial)
        if self.source is not None:
            picture_size(self.source)
        if self.save_motion is not None:
            require_template_name(self.save_motion)
        if self.output is not None:
            require_output(self.output)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Network of an animation, and how pictures reach its size."""

    checkpoint: AnimatorOption = None
    config: Annotated[
        str | None,
        typer.Option(
            help="A config/ name or file, for weights whose checkpoint has no configuration."
        ),
    ] = None
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the result; as trained if left out.")
    ] = None
    fit: Annotated[
        FitOption | None,
        typer.Option(
            help="How pictures of another size are made to fit; face: crop the faces of all "
            "pictures as in the network's training, and undo it in the output. If left out: face "
            "for pictures with a face if the checkpoint states how, else crop."
        ),
    ] = None
    paste: Annotated[
        bool, typer.Option("--paste", help="As --fit face; the face moves in the whole picture.")
    ] = False

    def load(self) -> tuple[Animator, Path, CropPolicy | None]:
        """Load the network; return it with its checkpoint and the policy of cropping."""
        settings = None
        if self.config is not None:
            from config import load_config  # here, since it loads the training's settings

            settings = load_config(self.config)
        checkpoint = self.checkpoint or bundled_weights()
        face_crop = settings.data.face_crop if settings else None
        policy = choose_policy(self.fit, self.paste, checkpoint, face_crop)
        animator = Animator.from_checkpoint(
            checkpoint,
            config=settings.model if settings else None,
            size=self.size or (settings.data.size if settings else None),
            resize_mode="crop" if self.fit is None or self.fit == "face" else self.fit,
            device=self.device,
            precision=self.precision,
        )
        return animator, checkpoint, policy


@app.callback(invoke_without_command=True)
@options_from_dataclasses
def animate_one(
    context: typer.Context,
    *,
    files: FileOptions,
    network: NetworkOptions,
    options: AnimationOptions,
) -> int:
    """Animate a source picture by a driving video; or, with the command pairs, a list of pairs."""
    if context.invoked_subcommand is not None:
        if (files, network, options) != (FileOptions(), NetworkOptions(), AnimationOptions()):
            raise InputError("Give the options of pairs after the word pairs.")
        return 0
    driving = files.require_complete()
    options.require_consistent()
    files.require_possible(
        driving, options.best_frame if isinstance(options.best_frame, int) else 0
    )
    animator, _, policy = network.load()
    reading: Reading = {
        "policy": policy,
        "frames": files.frames or ALL,
        "still_rate": files.fps or STILL_RATE,
    }
    if files.output is not None:
        source, motion_to = files.source or bundled_source(), files.save_motion
        animate_file(
            animator, source, driving, files.output, options, motion_to=motion_to, **reading
        )
    elif files.save_motion is not None:
        batch_size = options.batch_size
        save_motion(animator, driving, files.save_motion, batch_size=batch_size, **reading)
    return 0


@app.command("pairs")
@options_from_dataclasses
def animate_list(
    pairs: Annotated[
        Path,
        typer.Argument(
            help="CSV source,driving[,best_frame] (or source,driving,frame, of clips).",
            metavar="CSV",
        ),
    ],
    *,
    output: Annotated[Path, typer.Option(help="Folder of the results.")],
    root: Annotated[
        Path | None, typer.Option(help="Where the clips of the list are: the folder of test/.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Render nothing where files of the list are missing.")
    ] = False,
    format: Annotated[
        Format, typer.Option(help="Where clips drive: png is exact, mp4 for watching.")
    ] = "png",
    network: NetworkOptions,
    options: AnimationOptions,
) -> int:
    """Animate a list of pairs into a folder, with one network."""
    options.require_consistent()
    pair_list = read_pair_list(pairs, root)
    if strict:
        pair_list.require_all()
    require_apart(output, *pair_list.inputs)
    require_folder(output)
    animator, checkpoint, policy = network.load()
    problems = animate_pairs(
        animator, pair_list, output, options, format=format, checkpoint=checkpoint, policy=policy
    )
    return report(problems, output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if any(argument.split("=")[0] == "--pairs" for argument in arguments):
        print(
            "Instead of --pairs there is a command: python animate.py pairs CSV --root DIR "
            "--output FOLDER.",
            file=sys.stderr,
        )
        return 2
    return run(app, arguments)


if __name__ == "__main__":
    sys.exit(main())
