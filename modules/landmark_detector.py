"""The landmark detector: where brows, lids, lips, nose and jaw of a face are.

It is trained with labelled landmarks, unlike the keypoint detector, whose keypoints follow whole
heads.  The frame is rearranged into 64 x 64 patches, so that no detail is lost and nothing is
computed at full size.
"""

import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules.blocks import Hourglass
from modules.face_landmarks import NUM_LANDMARKS
from modules.geometry import at_least_float32, coordinate_grid, full_precision
from utils.section import Section


class LandmarkDetectorConfig(Section):
    """Section ``model.landmark_detector``: its size and temperature."""

    height: PositiveInt = 256  # to which images are resized first
    patch: PositiveInt = 4  # pixels on a side that become one position
    width: PositiveInt = 32  # channels of the hourglass at full size
    depth: PositiveInt = 4  # halvings inside the hourglass
    max_width: PositiveInt = 128
    temperature: PositiveFloat = 0.1  # divides the heatmap logits: small makes sharp heatmaps


class LandmarkDetector(nn.Module):
    """Detector of 68 landmarks, as expected coordinates of heatmaps."""

    def __init__(self, config: LandmarkDetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.height, self.patch, self.temperature = config.height, config.patch, config.temperature
        self.hourglass = Hourglass(
            3 * config.patch**2, config.width, config.depth, config.max_width
        )
        features = self.hourglass.out_channels
        self.heatmaps = nn.Conv2d(features, NUM_LANDMARKS, kernel_size=3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """Find the landmarks of (B, 3, H, W) in [0, 1]: (B, 68, 2), (x, y) in [-1, 1], float32."""
        return expected_positions(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        """Compute the logits of the heatmaps of (B, 3, H, W) in [0, 1]: (B, 68, h, w), float32."""
        logits = at_least_float32(self.heatmaps(self.hourglass(self.patches(image))))
        return logits / self.temperature

    def patches(self, image: Tensor) -> Tensor:
        """Resize (B, 3, H, W) and rearrange it: (B, 3 patch^2, height / patch, width / patch)."""
        height, width = image.shape[-2:]
        columns = max(1, round(self.height * width / height / self.patch))
        size = (self.height, columns * self.patch)
        if (height, width) != size:
            image = F.interpolate(image, size, mode="bilinear", align_corners=False)
        return F.pixel_unshuffle(image, self.patch)


def expected_positions(logits: Tensor) -> Tensor:
    """Average the positions in [-1, 1] under the softmax of logits (B, N, h, w): (B, N, 2)."""
    heatmaps = logits.flatten(2).softmax(dim=-1)
    grid = coordinate_grid(logits.shape[-2:], like=logits).flatten(0, 1)
    with full_precision(logits):
        return heatmaps @ grid
