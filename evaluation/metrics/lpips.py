"""LPIPS: distance of two pictures in the features of a network (Zhang et al., CVPR 2018).

The networks are torchmetrics' with its linear weights; torchvision downloads the backbone at the
first use.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.models import AlexNet_Weights, VGG16_Weights

from evaluation.metrics.interface import Frames, Measured, Unavailable, downloaded
from media.pictures import unit_range

BACKBONES = {"alex": AlexNet_Weights.DEFAULT, "vgg": VGG16_Weights.DEFAULT}
COLUMNS = {"alex": ("lpips_alex", "lpips_alex_published"), "vgg": ("lpips_vgg",)}
SMALLEST = {"alex": 31, "vgg": 16}  # pixels, for one value in the last layer
CHUNK = 16  # frames that go through the network together, which bounds the memory


class Lpips:
    """LPIPS of each frame on inputs in [-1, 1], or left in [0, 1] (``lpips_alex_published``)."""

    def __init__(
        self,
        network: Literal["alex", "vgg"],
        columns: Sequence[str] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load the network for some columns of ``COLUMNS[network]``, all by default.

        Raises Unavailable without torchmetrics or the weights of the backbone.
        """
        try:
            from torchmetrics.image import LearnedPerceptualImagePatchSimilarity
        except ImportError as error:
            raise Unavailable(f"{error}: pip install torchmetrics.") from error
        with downloaded(BACKBONES[network].url, f"the {network} network of LPIPS") as self.weights:
            distance = LearnedPerceptualImagePatchSimilarity(network, reduction="none")
        self.distance = distance.to(device)
        self.columns = COLUMNS[network] if columns is None else columns
        self.smallest = SMALLEST[network]
        self.device = device

    def __call__(self, frames: Frames) -> Measured:
        """Measure B frames; there is no value where they are too small for the network."""
        count = len(frames.real)
        if min(frames.real.shape[1:3]) < self.smallest:
            reason = f"the frame is smaller than {self.smallest} x {self.smallest}"
            values = {column: np.full(count, np.nan) for column in self.columns}
            return Measured(values, missing=[reason] * count)
        chunks: dict[str, list[np.ndarray]] = {column: [] for column in self.columns}
        for start in range(0, count, CHUNK):
            real = self.images(frames.real[start : start + CHUNK])
            generated = self.images(frames.generated[start : start + CHUNK])
            for column, found in chunks.items():
                if column.endswith("_published"):
                    found.append(self.distances(generated, real))
                else:
                    found.append(self.distances(2 * generated - 1, 2 * real - 1))
        values = {column: np.concatenate(found) for column, found in chunks.items()}
        return Measured(values, missing=[""] * count)

    def images(self, frames: np.ndarray) -> Tensor:
        """Convert frames (B, H, W, 3) uint8 to images (B, 3, H, W) in [0, 1]."""
        return unit_range(frames, self.device)

    @torch.no_grad()
    def distances(self, generated: Tensor, real: Tensor) -> np.ndarray:
        """Compute the distance of each pair of images (B, 3, H, W) as they are: (B,) float64."""
        distances: Tensor = self.distance(generated, real).reshape(len(real))
        self.distance.reset()  # it would keep every value
        return distances.double().cpu().numpy()
