"""The subject of a benchmark: the network of a configuration on a device, and pictures for it."""

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from animation.animate_file import AnimationOptions, Timing, animate_file
from animation.animator import Animator
from benchmarks.report import Value
from config import Config
from datasets.synthetic.motion import draw_motion
from datasets.synthetic.person import draw_identity
from datasets.synthetic.render import render
from inference.precision import Inference
from media.pictures import Picture, unit_range
from media.video import VideoWriter
from modules.checkpoints import load_model
from modules.mcnet import MCNet
from utils.device import pick_precision, precision_name

SEED = 0
RATE = 25  # frames per second, as in VoxCeleb
SMALLEST_HEAD = 32  # pixels; smaller heads cannot be rendered


class BenchmarkTarget(NamedTuple):
    """A configuration, the source of its weights, and the device."""

    config: Config
    device: torch.device
    checkpoint: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of frames in pixels."""
        return self.config.data.frame_size

    @property
    def settings(self) -> dict[str, Value]:
        """The settings that a result is reported with."""
        weights = "random" if self.checkpoint is None else str(self.checkpoint)
        height, width = self.size
        return {"config": self.config.name, "frames": f"{width} x {height}", "weights": weights}

    @property
    def precisions(self) -> list[torch.dtype]:
        """The precisions to compare, float32 first."""
        half = [torch.float16] if self.device.type == "cuda" else []
        return [torch.float32, torch.bfloat16, *half]

    def network(self) -> MCNet:
        """The network of the checkpoint, or one whose random weights are always the same."""
        if self.checkpoint is not None:
            model = load_model(self.checkpoint, self.config.model)
        else:
            torch.manual_seed(SEED)
            model = MCNet(self.config.model)
        return model.to(self.device).eval().requires_grad_(False)

    def fused_network(self, precision: torch.dtype) -> Inference:
        """Fuse the network in ``precision``."""
        return Inference(self.network(), self.device, precision_name(precision))

    def pictures(self, count: int) -> Tensor:
        """Frames of a head, (count, 3, H, W) in [0, 1]."""
        return unit_range(head_frames(count, self.size), self.device).contiguous()

    def animator(self) -> Animator:
        """An animator in the precision that "auto" tries first.

        Its own check would choose float32 for some random weights.
        """
        precision = precision_name(pick_precision("auto", self.device))
        device = str(self.device)
        return Animator(self.network(), self.size, device=device, precision=precision)

    def write_files(self, folder: Path, seconds: float) -> None:
        """Write a picture to animate and a clip of ``seconds`` that drives it."""
        Image.fromarray(head_frames(1, self.size)[0]).save(folder / "source.png")
        write_clip(folder / "driving.mp4", seconds, self.size)

    def animate_files(self, folder: Path) -> Timing:
        """Animate the files that ``write_files`` has written."""
        source, driving = folder / "source.png", folder / "driving.mp4"
        return animate_file(
            self.animator(), source, driving, str(folder / "result.mp4"), AnimationOptions()
        )


@cache
def head_frames(count: int, size: tuple[int, int]) -> list[Picture]:
    """Render ``count`` frames (H, W, 3) of a head that turns and talks, of ``size`` (H, W)."""
    rng = np.random.default_rng(SEED)
    identity, poses = draw_identity(rng), draw_motion(rng, count, RATE)
    side = max(SMALLEST_HEAD, *size)
    height, width = size
    return [
        np.array(Image.fromarray(render(identity, pose, side)).resize((width, height)))
        for pose in poses
    ]


def write_clip(path: Path, seconds: float, size: tuple[int, int]) -> Path:
    """Write an mp4 of a head: two seconds of it, played forth and back for ``seconds``."""
    frames = head_frames(2 * RATE, size)
    period = frames + frames[-2:0:-1]
    with VideoWriter(path, Fraction(RATE)) as writer:
        for number in range(round(seconds * RATE)):
            writer.write(period[number % len(period)])
    return path
