"""A training run that takes seconds: a tiny network, and clips of squares that walk about."""

import logging
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from accelerate.state import AcceleratorState

from config import Config, load_config, to_settings
from media.video import VideoWriter
from modules.checkpoints import WEIGHTS, save_weights
from modules.mcnet import MCNet
from training.distributed import start_processes
from training.run_checkpoints import find_checkpoint
from training.trainer import Trainer

SIZE = 32
SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "model": {
        "num_kp": 4,
        "keypoint_detector": {"width": 4, "depth": 2, "downsample": 2},
        "dense_motion": {"width": 4, "depth": 2, "downsample": 2},
        "generator": {"width": 4, "depth": 2, "residual_blocks": 1},
        "memory": {"channels": 8, "size": 4, "identity_hidden": 4},
    },
    "discriminator": {"width": 4, "depth": 2},
    "data": {"size": SIZE, "repeats": 4},
    "loss": {"vgg": "random", "scales": [1, 2]},
    "train": {
        "max_steps": 6,
        "batch_size": 2,
        "workers": 0,
        "log_every": 1,
        "grid_every": 6,
        "save_every": 2,
        "validate_every": 3,
        "validation_pairs": 3,
    },
}


def write_clips(root: Path, num_frames: int = 5) -> Path:
    """Write clips of five people, three of them for training."""
    for identity in range(5):
        folder = root / ("train" if identity < 3 else "test")
        folder.mkdir(parents=True, exist_ok=True)
        ground = np.random.default_rng(identity).integers(0, 128, (4, 4, 3), np.uint8)
        ground = ground.repeat(SIZE // 4, axis=0).repeat(SIZE // 4, axis=1)
        with VideoWriter(folder / f"id{identity}#a#0#5.mp4", Fraction(25)) as writer:
            for i in range(num_frames):
                frame = ground.copy()
                frame[8 + i : 16 + i, 4 * i : 4 * i + 8] = 255 - 40 * identity
                writer.write(frame)
    return root


def write_config(path: Path, root: Path) -> str:
    """Write the settings to a file, with their clips in ``root``."""
    data = {**SETTINGS["data"], "root": str(root)}
    path.write_text(yaml.safe_dump({**SETTINGS, "data": data}))
    return str(path)


def write_checkpoint(folder: Path, root: Path) -> Path:
    """Write a checkpoint of an untrained network, with its configuration."""
    folder.mkdir(parents=True)
    config = load_config(write_config(folder / "tiny.yaml", root))
    torch.manual_seed(0)
    save_weights(folder / WEIGHTS, MCNet(config.model), to_settings(config))
    return folder


def begin(config: Config, folder: Path, checkpoint: str | None = None) -> Trainer:
    """Set up a run in this process, whatever ran in it before."""
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = start_processes(config.train)
    return Trainer(config, folder, accelerator, find_checkpoint(folder, checkpoint))


if __name__ == "__main__":  # python -m tests.tiny_run CONFIG FOLDER [SETTING=VALUE ...]
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    begin(load_config(sys.argv[1], sys.argv[3:]), Path(sys.argv[2])).run()
