"""Generate clips of talking heads as a data set, for the demo and for tests.

``generate`` writes clips named as in VoxCeleb, ``idNNNNN#synthetic#<first frame>#<end>.mp4``, into
``root/train`` and ``root/test``; nobody is in both.  ``root/synthetic.json`` keeps the settings.
Every clip is a function of the seed and of its own number alone.
"""

import logging
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.clips import SPLITS
from datasets.config import SyntheticConfig
from datasets.synthetic.motion import draw_motion
from datasets.synthetic.person import draw_identity
from datasets.synthetic.render import render
from media.writers import VideoWriter
from utils.errors import InputError
from utils.files import atomic_folder
from utils.wording import counted
from utils.worker_pool import DIED, map_in_processes, usable_cores

SETTINGS_FILE = "synthetic.json"
logger = logging.getLogger(__name__)


class _GeneratedClip(NamedTuple):
    """Clip to be generated."""

    split: str
    identity: int
    number: int  # among the clips of the identity

    def name(self, frames: int) -> str:
        first = self.number * frames
        return f"id{self.identity:05d}#synthetic#{first:06d}#{first + frames:06d}.mp4"


def generate(root: Path, config: SyntheticConfig) -> None:
    """Write the data set, all of it or nothing; an existing one is kept as it is.

    Raises InputError where ``root`` holds anything else, or clips of other settings.
    """
    if _is_complete(root, config):
        logger.info("Using the generated clips in %s.", root)
        return
    try:
        with atomic_folder(root) as folder:
            _write_all(folder, config)
            config.write_json(folder / SETTINGS_FILE)
    except OSError as error:
        raise InputError(f"No clips can be generated in {root}: {error.strerror}.") from error


def _is_complete(root: Path, config: SyntheticConfig) -> bool:
    """Whether ``root`` holds the data set of ``config``; False where it is absent or empty."""
    problem = "has other settings than those asked for: delete its folder or name another one."
    found = SyntheticConfig.read_json(root / SETTINGS_FILE, problem) if root.is_dir() else None
    if found == config:
        return True
    if found is not None:
        raise InputError(f"{root / SETTINGS_FILE} {problem}")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            f"{root} holds something else than generated clips: name a new or an empty folder."
        )
    return False


def _write_all(folder: Path, config: SyntheticConfig) -> None:
    """Generate all clips, in processes where there are several cores."""
    clips = list(_clips(config))
    for split in SPLITS:
        (folder / split).mkdir()
    num_clips, num_frames = counted(len(clips), "clip"), counted(config.frames, "frame")
    logger.info("Generating %s of %s.", num_clips, num_frames)
    write = partial(_write_clip, folder, config)
    workers = min(len(clips), usable_cores())
    if workers == 1:
        for clip in clips:
            write(clip)
    else:
        for _ in map_in_processes(write, clips, workers, _died):
            pass


def _died(clip: _GeneratedClip) -> None:
    raise InputError(f"No clips can be generated: {DIED}.")


def _clips(config: SyntheticConfig) -> Iterator[_GeneratedClip]:
    for identity in range(config.train_identities + config.test_identities):
        split = "train" if identity < config.train_identities else "test"
        for number in range(config.clips_per_identity):
            yield _GeneratedClip(split, identity, number)


def _write_clip(folder: Path, config: SyntheticConfig, clip: _GeneratedClip) -> None:
    identity = draw_identity(np.random.default_rng([config.seed, clip.identity]))
    motion_rng = np.random.default_rng([config.seed, clip.identity, 1 + clip.number])
    poses = draw_motion(motion_rng, config.frames, config.rate)
    path = folder / clip.split / clip.name(config.frames)
    with VideoWriter(path, Fraction(config.rate)) as writer:
        for pose in poses:
            writer.write(render(identity, pose, config.size))
