"""Identity-conditioned generator: encode the source, warp and occlude it, compensate, decode."""

from typing import NamedTuple

from pydantic import PositiveInt
from torch import Tensor, nn

from modules.decoder import Decoder
from modules.dense_motion import DenseMotion
from modules.encoder import Encoder
from modules.geometry import Keypoints, resize, warp
from modules.memory_compensation import (
    Compensation,
    MemoryCompensation,
    MemoryConfig,
    split_pyramid,
)
from utils.section import Section

VISIBLE_BLOCKS = 8  # on a side of the occlusion map: training hides some of them at random


class GeneratorConfig(Section):
    """Section ``model.generator``: widths and depth of encoder and decoder."""

    width: PositiveInt = 64  # channels at full size, doubled at every halving
    max_width: PositiveInt = 512
    depth: PositiveInt = 3  # halvings; every level but the finest may read the memory
    residual_blocks: PositiveInt = 2  # of each decoder stage


class Rendered(NamedTuple):
    """A generated frame and the steps that led to it."""

    prediction: Tensor  # (B, 3, H, W) in [0, 1]
    warped_source: Tensor  # (B, 3, H, W), the source sampled by the deformation
    motion: DenseMotion
    compensations: list[Compensation]  # of the levels that read the memory, finest first


class Generator(nn.Module):
    """Generator: encodes, warps, compensates from the memory (unless it is None) and decodes."""

    def __init__(
        self,
        config: GeneratorConfig,
        memory: MemoryConfig | None,
        num_kp: int,
        num_landmarks: int = 0,
    ) -> None:
        super().__init__()
        widths = [min(config.max_width, config.width * 2**i) for i in range(config.depth + 1)]
        self.encoder = Encoder(widths)
        self.memory = None
        if memory is not None:
            coarsest = widths[1:][-(memory.levels or config.depth) :]
            self.memory = MemoryCompensation(memory, coarsest, num_kp, num_landmarks)
        self.decoder = Decoder(widths, config.residual_blocks)

    def encode(self, source: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W) in [0, 1] as a feature pyramid, finest level first."""
        return self.encoder(source)

    def memory_features(self, image: Tensor) -> list[Tensor]:
        """Project a picture (B, 3, H, W) at the levels that read the memory: (B, C, H, W) each."""
        assert self.memory is not None
        _, read = split_pyramid(self.encode(image), len(self.memory.project))
        return self.memory.projected(read)

    def generate(
        self,
        source: Tensor,
        pyramid: list[Tensor],
        source_keypoints: Keypoints,
        driving_keypoints: Keypoints,
        motion: DenseMotion,
        *,
        noise: Tensor | None = None,
    ) -> Rendered:
        """Move an encoded source (B, 3, H, W): warp its pyramid, compensate it, decode it."""
        warped = [warp_visible(feature, motion) for feature in pyramid]
        compensations: list[Compensation] = []
        if self.memory is not None:
            rest, read = split_pyramid(warped, len(self.memory.project))
            compensations = self.memory(read, source_keypoints, driving_keypoints, noise)
            warped = [*rest, *(level.compensated for level in compensations)]
        warped_source = warp(source, motion.deformation)
        prediction = self.decoder(warped, warped_source, motion.occlusion)
        return Rendered(prediction, warped_source, motion, compensations)


def warp_visible(feature: Tensor, motion: DenseMotion) -> Tensor:
    """Warp a feature (B, C, H, W), and multiply it by the occlusion map, 1 = visible."""
    visible = resize(motion.occlusion, feature.shape[-2:]).to(feature.dtype)
    return warp(feature, motion.deformation) * visible
