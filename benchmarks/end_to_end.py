"""A whole animation from file to file: how much of its time the network computes."""

import tempfile
from pathlib import Path

from PIL import Image

from animate import AnimationOptions, Animator, Timing, animate_file, save_motion
from benchmarks.clips import head_frames, write_clip
from benchmarks.report import Row, Table
from benchmarks.target import BenchmarkTarget
from utils.device import pick_precision, precision_name

SECONDS = 10.0  # of video
NOTE = (
    "A picture and an mp4 to an mp4 by a network that is already loaded, in the precision that "
    "the hardware multiplies fastest."
)


def end_to_end_table(target: BenchmarkTarget) -> Table:
    """An animation as animate.py makes it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, target, SECONDS)
        timing = animate_files(folder, target)
    row: Row = {
        "precision": precision_of(target),
        "clip, s": SECONDS,
        "frames": timing.num_frames,
        "wall, s": timing.seconds,
        "network, s": timing.network_seconds,
        "network / wall": timing.network_seconds / timing.seconds,
        "frames/s": timing.num_frames / timing.seconds,
    }
    return Table(title="Whole animation", rows=[row], note=NOTE)


def precision_of(target: BenchmarkTarget) -> str:
    """What "auto" tries: with random weights its check might end in float32."""
    return precision_name(pick_precision("auto", target.device))


def write_files(folder: Path, target: BenchmarkTarget, seconds: float) -> None:
    """A picture to animate, and a clip that drives it."""
    Image.fromarray(head_frames(1, target.size)[0]).save(folder / "source.png")
    write_clip(folder / "driving.mp4", seconds, target.size)


def animate_files(folder: Path, target: BenchmarkTarget) -> Timing:
    """Animates what ``write_files`` has written."""
    animator = loaded(target)
    source, driving = folder / "source.png", folder / "driving.mp4"
    return animate_file(animator, source, driving, str(folder / "result.mp4"), AnimationOptions())


def save_motions(folder: Path, target: BenchmarkTarget) -> None:
    """Save the motion of the clip that ``write_files`` has written."""
    save_motion(loaded(target), folder / "driving.mp4", folder / "motion.npz")


def loaded(target: BenchmarkTarget) -> Animator:
    """The network, ready to animate."""
    return Animator(
        target.network(),
        target.size,
        device=str(target.device),
        precision=precision_of(target),
    )
