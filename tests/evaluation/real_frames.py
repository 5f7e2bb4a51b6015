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
    """Read frames of a clip as the truth, and later ones in the place of generated ones."""
    clip = min(CLIPS.glob("*.mp4"))
    images = np.stack([frame.image for frame in islice(read_frames(clip), count + 5)])
    return Frames(source=None, real=images[:count], generated=images[5:])
