"""What is measured: a network of a configuration on a device."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.clips import head_frames
from benchmarks.report import Value
from config import Config
from inference.precision import Inference
from modules.checkpoints import load_model
from modules.mcnet import MCNet
from utils.device import precision_name

SEED = 0


class BenchmarkTarget(NamedTuple):
    """A configuration, where its weights come from, and the device."""

    config: Config
    device: torch.device
    checkpoint: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of frames."""
        return self.config.data.frame_size

    @property
    def settings(self) -> dict[str, Value]:
        weights = "random" if self.checkpoint is None else str(self.checkpoint)
        height, width = self.size
        return {"config": self.config.name, "frames": f"{width} x {height}", "weights": weights}

    @property
    def precisions(self) -> list[torch.dtype]:
        """Those to compare, float32 first."""
        half = [torch.float16] if self.device.type == "cuda" else []
        return [torch.float32, torch.bfloat16, *half]

    @property
    def batches(self) -> list[int]:
        """Numbers of driving frames rendered at once."""
        return [1, 4, 16] if self.device.type == "cuda" else [1, 4]

    def network(self) -> MCNet:
        """The network of the checkpoint, or with random weights that are always the same."""
        if self.checkpoint is not None:
            model = load_model(self.checkpoint, self.config.model)
        else:
            torch.manual_seed(SEED)
            model = MCNet(self.config.model)
        return model.to(self.device).eval().requires_grad_(False)

    def fused_network(self, precision: torch.dtype) -> Inference:
        """The same in its fast form."""
        return Inference(self.network(), self.device, precision_name(precision))

    def pictures(self, count: int, size: tuple[int, int] | None = None) -> Tensor:
        """Frames of a head, (count, 3, H, W) in [0, 1]."""
        frames = [torch.from_numpy(frame) for frame in head_frames(count, size or self.size)]
        return torch.stack(frames).to(self.device).permute(0, 3, 1, 2).contiguous().float() / 255
