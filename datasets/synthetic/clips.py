"""Generated talking heads as a data set: for the demo, and for tests.

``generate`` writes clips named as in VoxCeleb, ``idNNNNN#synthetic#<first frame>#<end>.mp4``, into
``root/train`` and ``root/test``; nobody is in both.  ``root/synthetic.json`` keeps the settings.
Every clip is a function of the seed and of its own number alone.
"""

import logging
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt, ValidationError

from datasets.synthetic.motion import draw_motion
from datasets.synthetic.person import draw_identity
from datasets.synthetic.render import render
from media.video import VideoWriter
from utils.errors import InputError
from utils.section import Section
from utils.wording import counted

SETTINGS_FILE = "synthetic.json"
logger = logging.getLogger(__name__)


class SyntheticConfig(Section):
    """Section ``data.synthetic``: the generated people."""

    train_identities: PositiveInt = 60
    test_identities: PositiveInt = 8
    clips_per_identity: PositiveInt = 1
    frames: Annotated[int, Field(ge=2)] = 48  # of a clip
    size: Annotated[int, Field(ge=32, multiple_of=2)] = 128  # height and width in pixels
    rate: PositiveInt = 25  # frames a second
    seed: Annotated[int, Field(ge=0)] = 0


class _Clip(NamedTuple):
    """One clip to be written."""

    split: str
    identity: int
    number: int  # among the clips of the identity

    def name(self, frames: int) -> str:
        first = self.number * frames
        return f"id{self.identity:05d}#synthetic#{first:06d}#{first + frames:06d}.mp4"


def generate(root: Path, config: SyntheticConfig) -> None:
    """Writes the data set, all of it or nothing; one that is already there is kept as it is.

    Raises InputError where ``root`` holds anything else, other settings among it.
    """
    if _is_complete(root, config):
        logger.info("Using the generated clips in %s.", root)
        return
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    except OSError as error:
        raise InputError(f"No clips can be generated in {root}: {error.strerror}.") from error
    try:
        _write_all(temporary, config)
        temporary.chmod(0o755)  # mkdtemp keeps others out
        if root.exists():
            root.rmdir()  # empty, or _is_complete would have raised
        temporary.rename(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_complete(root: Path, config: SyntheticConfig) -> bool:
    """Whether ``root`` holds just the data set of ``config``; False where it holds nothing."""
    settings = root / SETTINGS_FILE
    if settings.is_file():
        try:
            found = SyntheticConfig.model_validate_json(settings.read_text())
        except (ValidationError, UnicodeDecodeError):
            found = None
        if found == config:
            return True
        raise InputError(
            f"{root} holds clips generated with other settings than asked for: delete it or name "
            f"another folder (its settings are in {SETTINGS_FILE})."
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(
            f"{root} holds something else than generated clips: name a new or an empty folder."
        )
    return False


def _write_all(folder: Path, config: SyntheticConfig) -> None:
    clips = list(_clips(config))
    for split in ("train", "test"):
        (folder / split).mkdir()
    workers = min(len(clips), _num_workers())
    num_clips, num_frames = counted(len(clips), "clip"), counted(config.frames, "frame")
    logger.info("Generating %s of %s.", num_clips, num_frames)
    if workers == 1:
        for clip in clips:
            _write_clip(folder, config, clip)
    else:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            count = len(clips)
            list(pool.map(_write_clip, [folder] * count, [config] * count, clips))
    (folder / SETTINGS_FILE).write_text(config.model_dump_json(indent=2) + "\n")


def _num_workers() -> int:
    return os.cpu_count() or 1


def _clips(config: SyntheticConfig) -> Iterator[_Clip]:
    for identity in range(config.train_identities + config.test_identities):
        split = "train" if identity < config.train_identities else "test"
        for number in range(config.clips_per_identity):
            yield _Clip(split, identity, number)


def _write_clip(folder: Path, config: SyntheticConfig, clip: _Clip) -> None:
    identity = draw_identity(np.random.default_rng([config.seed, clip.identity]))
    motion_rng = np.random.default_rng([config.seed, clip.identity, 1 + clip.number])
    poses = draw_motion(motion_rng, config.frames, config.rate)
    path = folder / clip.split / clip.name(config.frames)
    with VideoWriter(path, Fraction(config.rate)) as writer:
        for pose in poses:
            writer.write(render(identity, pose, config.size))
