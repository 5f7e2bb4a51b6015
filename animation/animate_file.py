"""Animate one source: from files to a file, or frames in memory.

``animate_file`` reads, fits, animates and writes; ``save_motion`` stores the motion of a video for
other animations; ``animate_frames`` takes frames from memory.
"""

import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import typer
from typing_extensions import Unpack

from animation.animator import Animator, Motion
from animation.best_frame import find_best_frame, neutral_keypoints
from animation.cropper import CropPolicy, choose_policy, driving_fit, fit_source
from animation.driving import Driving, DrivingFrame, DrivingVideo, Reading, open_driving
from animation.motion_template import require_template_name, save_template
from animation.motion_transfer import AS_DRIVEN, MotionStrength
from faces.main_face import median_face, spread
from media.pictures import Box, Picture
from media.provenance import Provenance, load_credentials, of_weights
from media.video import open_writer
from media.writers import require_output
from modules.checkpoints import weights_file
from modules.face_landmarks import PARTS
from modules.geometry import Keypoints
from utils.errors import InputError
from utils.files import require_apart
from utils.prefetch import write_async
from utils.progress import progress_bar
from utils.wording import counted

BestFrame = int | Literal["auto"]  # that relative motion starts from

WAITING = 32  # frames that may wait to be written
SEARCHED = 32  # frames of a stream, whose length is not known, in which the face is looked for

logger = logging.getLogger(__name__)


def parse_best_frame(text: str) -> BestFrame:
    """Parse the number of a frame, numbered from 0, or "auto"."""
    if text != "auto" and not text.isdecimal():
        raise typer.BadParameter(f"The best frame is auto or the number of a frame: found {text!r}")
    return "auto" if text == "auto" else int(text)


def parse_parts(text: str) -> tuple[str, ...]:
    """Parse the names of parts of a face, separated by commas."""
    return tuple(part.strip() for part in text.split(","))


@dataclass(frozen=True, kw_only=True)
class AnimationOptions:
    """Options of an animation, whatever its files; the command line is made from these fields."""

    motion: Annotated[
        Motion | None,
        typer.Option(help="relative if left out; for pairs, what their protocol prescribes."),
    ] = None
    adapt_scale: Annotated[
        bool, typer.Option("--adapt-scale", help="Scale relative motion to the source's face.")
    ] = False
    best_frame: Annotated[
        BestFrame | None,
        typer.Option(
            parser=parse_best_frame,
            metavar="NUMBER|auto",
            help="Frame that relative motion starts from; if left out, the first in which the "
            "face is found, or the one with the most neutral face where the network finds "
            "landmarks.",
        ),
    ] = None
    head: Annotated[float, typer.Option(help="Strength of the head's relative motion, 0 to 2.")] = (
        1.0
    )
    expression: Annotated[
        float,
        typer.Option(help="Strength of relative expressions, 0 to 2 (networks with landmarks)."),
    ] = 1.0
    only: Annotated[
        tuple[str, ...] | None,
        typer.Option(
            parser=parse_parts,
            metavar="PARTS",
            help="Parts of the face whose expression is transferred, for example mouth,eyes: "
            "of jaw, brows, nose, eyes and mouth (networks with landmarks).",
        ),
    ] = None
    panels: Annotated[
        bool,
        typer.Option(
            "--panels", help="Source, driving (a motion file has none) and result side by side."
        ),
    ] = False
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Frames rendered at once; by default chosen for the device."),
    ] = None

    no_mark: Annotated[
        bool,
        typer.Option(
            "--no-mark", help="Leave out the statement in the output that it is generated."
        ),
    ] = False
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="CERT KEY",
            help="PEM files to sign the output with (docs/provenance.md).",
        ),
    ] = None

    @property
    def strength(self) -> MotionStrength:
        """Strength of relative motion, 0 to 2, and the parts that express."""
        return MotionStrength(self.head, self.expression, self.only or tuple(PARTS))

    def provenance(self, animator: Animator) -> Provenance | None:
        """State where outputs are from.  Raises InputError for unusable credentials."""
        credentials = None if self.sign is None else load_credentials(*self.sign)
        if self.no_mark:
            return None
        checkpoint = animator.checkpoint
        return of_weights(checkpoint and weights_file(checkpoint), credentials)

    def require_usable(self, animator: Animator, policy: CropPolicy | None) -> None:
        """Raise InputError where the options need what is not there."""
        if policy is not None and policy.paste and self.panels:
            raise InputError("--paste goes without --panels: leave out one of them.")
        self.strength.require_usable(animator.detects_landmarks)

    def require_consistent(self) -> None:
        """Raise InputError where options of relative motion are combined with absolute motion."""
        chosen = self.adapt_scale or self.best_frame is not None or self.strength != AS_DRIVEN
        if self.motion == "absolute" and chosen:
            raise InputError(
                "--adapt-scale, --best-frame, --head, --expression and --only need relative "
                "motion: leave them out, or choose --motion relative."
            )
        if self.no_mark and self.sign is not None:
            raise InputError("--sign states that the output is generated: leave out --no-mark.")


class Timing(NamedTuple):
    """Duration of an animation from file to file, and of the network's computation in it."""

    num_frames: int
    seconds: float
    network_seconds: float

    def __str__(self) -> str:
        return (
            f"{counted(self.num_frames, 'frame')} in {self.seconds:.1f} s "
            f"({self.num_frames / self.seconds:.1f} frames/s), "
            f"{self.network_seconds / self.seconds:.0%} of it in the network"
        )


def animate_file(
    animator: Animator,
    source: Path | Picture,
    driving: Path,
    output: str,
    options: AnimationOptions,
    *,
    motion_to: Path | None = None,
    source_face: Box | None = None,
    on_frame: Callable[[Picture], object] | None = None,
    **reading: Unpack[Reading],
) -> Timing:
    """Write the source picture (H, W, 3), animated by ``driving``, to a file.

    ``driving`` is a video, folder, picture, or motion template (.npz).  ``output`` is a .mp4 or
    .gif with the rate (and, in a .mp4, the sound) of the driving video, or a folder of PNG where
    it ends in "/".  The policy of ``reading`` crops the source's face too: the largest, or the
    ``source_face``.  The motion of a driving video is saved as the template ``motion_to``.
    ``on_frame`` is called with each frame (H, W, 3) that has been written, on the thread that
    writes; an exception of it ends the animation.
    """
    policy = reading.get("policy")
    inputs = [driving, source if isinstance(source, Path) else None]
    require_apart(output, *inputs, motion_to)
    if motion_to is not None:
        require_apart(motion_to, *inputs)
    options.require_usable(animator, policy)
    provenance = options.provenance(animator)
    require_output(output)
    began, computed_before = time.perf_counter(), animator.busy.seconds
    fitted = fit_source(animator, source, policy, face=source_face)
    moving = open_driving(animator, driving, **reading)
    if motion_to is not None:
        keep_motion(moving, motion_to)
    if isinstance(moving, DrivingVideo) and moving.sound is None and moving.video.has_audio:
        first = moving.numbers.start
        logger.info("Without sound: it is kept where --frames begins with 0, not %d.", first)
    initial = None
    if options.motion != "absolute":
        initial = initial_keypoints(
            animator, fitted.picture, moving, options.best_frame, options.batch_size
        )
    with open_writer(output, moving.rate, moving.sound, provenance) as writer:

        def write(frame: DrivingFrame, result: Picture) -> None:
            shown = fitted.to_output(result)
            if options.panels:
                seen = map(fitted.to_panel, [fitted.picture, *frame.pictures])
                shown = np.hstack([*seen, shown])
            writer.write(shown, frame.time)
            if on_frame is not None:
                on_frame(shown)

        with (
            write_async(write, WAITING) as submit,
            animated(animator, fitted.picture, moving, initial, options) as results,
        ):
            for frame, result in progress_bar(results, total=moving.num_frames, unit="frame"):
                submit(frame, result)
        if motion_to is not None:
            write_motion(moving, motion_to)
    logger.info("Written: %s", output)
    timing = Timing(
        num_frames=writer.num_frames,
        seconds=time.perf_counter() - began,
        network_seconds=animator.busy.seconds - computed_before,
    )
    logger.info("%s.", timing)
    return timing


def initial_keypoints(
    animator: Animator,
    source: Picture,
    driving: Driving,
    best_frame: BestFrame | None = None,
    batch_size: int | None = None,
) -> Keypoints | None:
    """Choose the keypoints (1, K, ...) that relative motion starts from; None for the first frame.

    The frame is the ``best_frame``, or by default the one with the most neutral face where the
    network finds landmarks, else the first that shows the face.  ``source`` has the network's size.
    """
    if isinstance(best_frame, int):
        return driving.keypoints_at(best_frame, batch_size)
    if best_frame is None and animator.detects_landmarks:
        return neutral_keypoints(animator, source, driving, batch_size)
    if best_frame is None and driving.initial == 0:
        return None
    if best_frame is None:
        logger.info(
            "Motion is relative to frame %d, the first that shows the face: --best-frame chooses "
            "another.",
            driving.initial,
        )
        return driving.keypoints_at(driving.initial, batch_size)
    if not isinstance(driving, DrivingVideo):
        raise InputError(
            f"--best-frame auto looks at the driving frames, which {driving.path} does not hold: "
            "give the number of a frame."
        )
    best = find_best_frame(animator, source, driving)
    return None if best is None else animator.detect([best])


@contextmanager
def animated(
    animator: Animator,
    source: Picture,
    driving: Driving,
    initial: Keypoints | None,
    options: AnimationOptions,
) -> Iterator[Iterator[tuple[DrivingFrame, Picture]]]:
    """Stream each driving frame with the picture (H, W, 3) that the source becomes by it."""
    with driving.motion(options.batch_size) as motion:
        # Two readers of one stream: the one returned is a few batches behind the network's.
        returned, given = itertools.tee(motion)
        results = animator.animate_keypoints(
            source,
            (keypoints for _, keypoints in given),
            motion=options.motion or "relative",
            adapt_scale=options.adapt_scale,
            initial=initial,
            strength=options.strength,
        )
        frames = itertools.chain.from_iterable(frames for frames, _ in returned)
        yield zip(frames, results, strict=True)


def animate_frames(
    animator: Animator,
    source: Picture,
    frames: Iterable[Picture],
    *,
    policy: CropPolicy | None = None,
    paste: bool = False,
    motion: Motion = "relative",
    adapt_scale: bool = False,
    initial: Picture | None = None,
    batch_size: int | None = None,
) -> Iterator[Picture]:
    """Re-enact the source: yield one picture (H, W, 3) RGB uint8 for each driving frame.

    Without a ``policy`` faces are cropped as by the command without --fit: where the animator's
    checkpoint states how, and a face is found; with ``paste`` in any case.  All driving frames
    have one crop, around the face in some of them, or in some of the first where ``frames`` is no
    sequence.  Relative motion starts from the driving frame ``initial``, or else from the first.
    """
    if policy is None and animator.checkpoint is not None:
        policy = choose_policy(None, paste, animator.checkpoint)
    fitted = fit_source(animator, source, policy)
    known: Sequence[Picture]
    if isinstance(frames, Sequence | np.ndarray):
        known = list(frames)
    else:
        stream = iter(frames)
        known = list(itertools.islice(stream, SEARCHED))
        frames = itertools.chain(known, stream)
    if not known:
        return
    size = known[0].shape[:2]
    find_face = partial(median_face, spread(known))
    fit = driving_fit(animator, policy, size, find_face, "the driving frames")
    results = animator.animate(
        fitted.picture,
        map(fit, frames),
        motion=motion,
        adapt_scale=adapt_scale,
        initial=None if initial is None else fit(initial),
        batch_size=batch_size,
    )
    yield from map(fitted.to_output, results)


def save_motion(
    animator: Animator,
    driving: Path,
    output: Path,
    *,
    batch_size: int | None = None,
    **reading: Unpack[Reading],
) -> None:
    """Write the motion of a driving video as a template (.npz)."""
    require_apart(output, driving)
    moving = open_driving(animator, driving, **reading)
    keep_motion(moving, output)
    with moving.motion(batch_size) as motion:
        for _ in progress_bar(motion, unit="batch"):
            pass
    write_motion(moving, output)


def keep_motion(driving: Driving, path: Path) -> None:
    """Keep the keypoints of a video for a template.  Raises InputError where there is no video."""
    if not isinstance(driving, DrivingVideo):
        raise InputError(f"--save-motion needs a driving video: {driving.path} is none.")
    require_template_name(path)
    driving.keep_keypoints()


def write_motion(driving: Driving, path: Path) -> None:
    """Write the keypoints (T, K, ...) that were kept as a template."""
    assert isinstance(driving, DrivingVideo)
    template = driving.template()
    save_template(path, template)
    num_frames, num_kp, _ = template.keypoints.positions.shape
    frames, keypoints = counted(num_frames, "frame"), counted(num_kp, "keypoint")
    logger.info("Written: %s (%s, %s)", path, frames, keypoints)
