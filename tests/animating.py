"""A tiny network that moves, pictures and clips for it, and ``animate.py`` as a function."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from animate import main
from media.video import VideoWriter, read_frames
from modules.checkpoints import save_weights
from modules.keypoint_detector import KeypointDetectorConfig
from modules.mcnet import ModelConfig
from tests.tiny import TINY, tiny_model

SIZE = 32
# A random detector has flat heatmaps: the low temperature lets its keypoints move.
MOVING = TINY.model_copy(
    update={
        "keypoint_detector": KeypointDetectorConfig(
            width=4, depth=2, downsample=2, temperature=1e-3
        )
    }
)

Words = dict[str, str | None]  # options of a command line


def call(options: Words) -> int:
    return main([word for pair in options.items() for word in pair if word is not None])


def without(options: Words, *names: str) -> Words:
    return {name: value for name, value in options.items() if name not in names}


def complaint(capsys) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert "Traceback" not in lines[-1]
    return lines[-1]


def write_checkpoint(
    path: Path, model: ModelConfig = MOVING, *, seed: int = 0, **data: Any
) -> Path:
    """Save random weights with the sections that a checkpoint carries."""
    config = {"model": model.model_dump(mode="json"), "data": {"size": SIZE, **data}}
    save_weights(path, tiny_model(model, seed=seed), config)
    return path


def moving_square(
    num_frames: int, height: int = SIZE, width: int = SIZE, seed: int = 0
) -> Iterator[np.ndarray]:
    """Frames of a bright square that walks over a coloured ground."""
    ground = np.random.default_rng(seed).integers(0, 128, (height // 8, width // 8, 3), np.uint8)
    ground = ground.repeat(8, axis=0).repeat(8, axis=1)
    for i in range(num_frames):
        frame = ground.copy()
        x = i % (width - 8)
        frame[x // 2 : x // 2 + 8, x : x + 8] = 255
        yield frame


def write_clip(path: Path | str, num_frames: int, rate: Fraction = Fraction(25)) -> Path:
    with VideoWriter(path, rate) as writer:
        for frame in moving_square(num_frames):
            writer.write(frame)
    return Path(path)


def write_picture(path: Path | str, **shape: int) -> Path:
    (frame,) = moving_square(1, **shape)
    Image.fromarray(frame).save(path)
    return Path(path)


def images(path: Path | str | None) -> np.ndarray:
    """The frames of a file or folder, all at once."""
    return np.stack([frame.image for frame in read_frames(str(path))])
