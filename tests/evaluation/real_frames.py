"""Frames of the clips that lie beside the repository, where they do."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from evaluation.metrics.interface import Frames
from media.video import read_frames

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips" / "test"

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="the folder ../shared/clips is absent")


def real_frames(count: int) -> Frames:
    """Read the middle of a clip's frames as the truth; later ones stand for generated ones."""
    clip = min(CLIPS.glob("*.mp4"))
    images = np.stack([frame.image for frame in islice(read_frames(clip), count + 5)])
    images = images[:, 64:192, 64:192]
    return Frames(source=None, real=images[:count], generated=images[5:])
