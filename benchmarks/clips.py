"""Pictures and clips of a generated head, to measure with."""

from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.synthetic.motion import draw_motion
from datasets.synthetic.person import draw_identity
from datasets.synthetic.render import render
from media.pictures import Picture
from media.video import VideoWriter

RATE = 25  # frames a second, as in VoxCeleb
SMALLEST = 32  # side of a rendered head


@cache
def head_frames(count: int, size: tuple[int, int]) -> list[Picture]:
    """A head that turns and talks: ``count`` frames of ``size`` (H, W)."""
    draws = np.random.default_rng(0)
    identity, poses = draw_identity(draws), draw_motion(draws, count, RATE)
    side = max(SMALLEST, *size)
    height, width = size
    return [
        np.array(Image.fromarray(render(identity, pose, side)).resize((width, height)))
        for pose in poses
    ]


def write_clip(path: Path, seconds: float, size: tuple[int, int]) -> Path:
    """An mp4 of a head: two seconds of it, forth and back as long as asked for."""
    frames = head_frames(2 * RATE, size)
    with VideoWriter(path, Fraction(RATE)) as writer:
        for number in range(round(seconds * RATE)):
            writer.write(frames[there_and_back(number, len(frames))])
    return path


def there_and_back(number: int, count: int) -> int:
    """0, 1, ..., count - 1, count - 2, ..., 0, 1, ..."""
    last = count - 1
    return last - abs(last - number % (2 * last))
