"""One animation from files to a file, and the motion of a video saved for other animations."""

import logging
import time
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from animation.animator import Animator
from animation.best_frame import WAITING, Options, animated, initial_keypoints
from animation.cropper import Framing, fit_portrait
from animation.driving import ALL, Driving, DrivingFrame, DrivingVideo, open_driving
from animation.motion_template import require_template_name, save_template
from media.pictures import Picture
from media.video import STILL_RATE, open_writer
from media.writers import require_output
from utils.errors import InputError
from utils.files import require_apart
from utils.prefetch import write_async
from utils.progress import progress_bar
from utils.wording import counted

logger = logging.getLogger(__name__)


class Timing(NamedTuple):
    """How long an animation took from file to file, and for how long the network computed."""

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
    options: Options,
    *,
    framing: Framing | None = None,
    frames: slice = ALL,
    still_rate: Fraction = STILL_RATE,
    motion_to: Path | None = None,
) -> Timing:
    """Writes the picture ``source``, animated by the ``frames`` of ``driving``.

    This is a video, folder, picture, or motion template (.npz).  ``output`` is a .mp4 or .gif with
    the rate (and, in a .mp4, the sound) of the driving video, or a folder of PNG where it ends in
    "/".  A folder drives with ``still_rate`` frames a second.  With a ``framing`` both faces are
    cut as the training's were.  The motion of a driving video is saved as the template
    ``motion_to``.
    """
    inputs = [driving, source if isinstance(source, Path) else None]
    require_apart(output, *inputs, motion_to)
    if motion_to is not None:
        require_apart(motion_to, *inputs)
    if framing and framing.paste and options.panels:
        raise InputError("--paste goes without --panels: leave out one of them.")
    options.strength.require_usable(animator.has_landmarks)
    require_output(output)
    began, computed_before = time.perf_counter(), animator.busy.seconds
    portrait = fit_portrait(animator, source, framing)
    moving = open_driving(animator, driving, framing=framing, frames=frames, still_rate=still_rate)
    recorded = None if motion_to is None else Recorded(moving, motion_to)
    if isinstance(moving, DrivingVideo) and moving.sound is None and moving.video.has_audio:
        first = moving.numbers.start
        logger.info("Without sound: it is kept where --frames begins with 0, not %d.", first)
    initial = initial_keypoints(animator, portrait.frame, moving, options)
    with open_writer(output, moving.rate, moving.sound) as writer:

        def write(moment: DrivingFrame, result: Picture) -> None:
            shown = [portrait.frame, *moment.pictures, result] if options.panels else [result]
            writer.write(np.hstack([portrait.output(each) for each in shown]), moment.time)

        with (
            write_async(write, WAITING) as submit,
            animated(animator, portrait.frame, moving, initial, options) as results,
        ):
            progress = progress_bar(results, total=moving.num_frames, unit="frame")
            for moment, result in progress:
                submit(moment, result)
        if recorded is not None:
            recorded.write()
    logger.info("Written: %s", output)
    timing = Timing(
        num_frames=writer.num_frames,
        seconds=time.perf_counter() - began,
        network_seconds=animator.busy.seconds - computed_before,
    )
    logger.info("%s.", timing)
    return timing


def save_motion(
    animator: Animator,
    driving: Path,
    output: Path,
    *,
    framing: Framing | None = None,
    frames: slice = ALL,
    still_rate: Fraction = STILL_RATE,
    batch_size: int | None = None,
) -> None:
    """Writes the motion of a driving video as a template (.npz), without animating anything."""
    require_apart(output, driving)
    moving = open_driving(animator, driving, framing=framing, frames=frames, still_rate=still_rate)
    recorded = Recorded(moving, output)
    with moving.motion(batch_size) as motion:
        for _ in progress_bar(motion, unit="batch"):
            pass
    recorded.write()


class Recorded:
    """A driving video, whose motion becomes a file once it went through."""

    def __init__(self, driving: Driving, path: Path) -> None:
        """Raises InputError where that cannot be."""
        if not isinstance(driving, DrivingVideo):
            raise InputError(f"--save-motion needs a driving video: {driving.path} is none.")
        require_template_name(path)
        driving.keep_motion()
        self.driving, self.path = driving, path

    def write(self) -> None:
        template = self.driving.template()
        save_template(self.path, template)
        num_frames, num_kp, _ = template.keypoints.positions.shape
        frames, keypoints = counted(num_frames, "frame"), counted(num_kp, "keypoint")
        logger.info("Written: %s (%s, %s)", self.path, frames, keypoints)
