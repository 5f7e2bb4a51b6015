"""Make the moving thumbnails of the project's motions: python -m web.thumbnails.

Each shows the example portrait in a motion, and lies beside it as weights/motions/NAME.webp.  They
are made anew whenever the bundled network or its motions change.
"""

from pathlib import Path

from PIL import Image

from animation.animate_file import initial_keypoints
from animation.animator import Animator
from animation.bundled import MOTIONS, WEIGHTS, bundled_source, motion_names
from animation.cropper import choose_policy, fit_source
from animation.driving import DrivingTemplate, split
from animation.motion_template import SUFFIX
from animation.motion_transfer import frames_of

SIDE = 160  # pixels
EVERY, COUNT = 4, 30  # frames of the motion that are shown
QUALITY = 60


def write_thumbnail(animator: Animator, motion: Path, output: Path) -> None:
    """Animate the example by some frames of a motion, and write them as an animated WebP."""
    fitted = fit_source(animator, bundled_source(), choose_policy(None, False, WEIGHTS))
    driving = DrivingTemplate(animator, motion)
    some = frames_of(driving.keypoints, slice(None, EVERY * COUNT, EVERY))
    initial = initial_keypoints(animator, fitted.picture, driving)
    frames = animator.animate_keypoints(
        fitted.picture, split(some, animator.batch_size), initial=initial
    )
    pictures = [
        Image.fromarray(fitted.to_output(frame)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        for frame in frames
    ]
    pictures[0].save(
        output,
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 * EVERY / driving.rate),
        loop=0,
        quality=QUALITY,
        method=6,
    )


def main() -> None:
    """Write the thumbnails of all motions."""
    animator = Animator.from_checkpoint(WEIGHTS)
    for name in motion_names():
        write_thumbnail(animator, MOTIONS / f"{name}{SUFFIX}", MOTIONS / f"{name}.webp")


if __name__ == "__main__":
    main()
