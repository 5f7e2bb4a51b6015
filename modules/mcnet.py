"""MCNet: moves a source picture by the keypoints of a driving frame.

It joins the boxes of the paper's figure (Hong & Xu, *Implicit Identity
Representation Conditioned Memory Compensation Network for Talking Head Video Generation*, ICCV
2023; here MCNet).  Its motion follows Siarohin et al., *First Order Motion Model for Image
Animation*, NeurIPS 2019; here FOMM.
"""

from typing import Annotated, NamedTuple

import torch.nn.functional as F
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from modules.dense_motion import DenseMotionConfig, DenseMotionNetwork
from modules.face_landmarks import NUM_LANDMARKS
from modules.generator import Generator, GeneratorConfig, Rendered
from modules.geometry import Keypoints
from modules.implicit_identity import needs_landmarks
from modules.keypoint_detector import KeypointDetector, KeypointDetectorConfig
from modules.landmark_detector import LandmarkDetector, LandmarkDetectorConfig
from modules.memory_compensation import MemoryConfig
from utils.errors import InputError
from utils.section import Section

Gain = Annotated[float, Field(ge=1, le=2)]


class ExpressionGain(Section):
    """Section ``model.expression_gain``: how much farther landmarks move than the driving face's.

    In an animation, relative to the source's expression; one for each of ``Expressions``.  It makes
    up for a trained network that moves lids and lips less far than their landmarks.  Not in the
    paper.
    """

    mouth: Gain = 1.0
    width: Gain = 1.0
    eyes: Gain = 1.0
    brows: Gain = 1.0


class ModelConfig(Section):
    """Section ``model``; its defaults are the published model, ``memory: null`` has no memory."""

    num_kp: PositiveInt = 15
    keypoint_detector: KeypointDetectorConfig = KeypointDetectorConfig()
    landmark_detector: LandmarkDetectorConfig | None = None  # not in the paper
    expression_gain: ExpressionGain = ExpressionGain()  # likewise
    dense_motion: DenseMotionConfig = DenseMotionConfig()
    generator: GeneratorConfig = GeneratorConfig()
    memory: MemoryConfig | None = MemoryConfig()

    @property
    def num_landmarks(self) -> int:
        """The number of landmarks of a frame: 68, or 0 without a detector for them."""
        return 0 if self.landmark_detector is None else NUM_LANDMARKS

    @property
    def memory_levels(self) -> int:
        """The number of levels that read the memory."""
        return 0 if self.memory is None else self.memory.levels or self.generator.depth

    @model_validator(mode="after")
    def has_the_landmarks_of_the_identity(self) -> "ModelConfig":
        memory = self.memory
        if memory and needs_landmarks(memory.identity) and self.landmark_detector is None:
            raise ValueError(
                f"memory.identity is {memory.identity!r}, but nothing finds landmarks: add a "
                "landmark_detector, or leave landmarks out of it"
            )
        return self

    @model_validator(mode="after")
    def has_the_levels_that_read(self) -> "ModelConfig":
        if self.memory_levels > self.generator.depth:
            raise ValueError(
                f"memory.levels is {self.memory_levels}, but generator.depth leaves "
                f"{self.generator.depth} levels that may read the memory: choose no more"
            )
        return self


class Encoded(NamedTuple):
    """A source encoded: all that depends on it alone."""

    source: Tensor  # (B, 3, H, W) in [0, 1]
    pyramid: list[Tensor]  # features, finest first
    keypoints: Keypoints


class MCNet(nn.Module):
    """MCNet: keypoint detector, dense motion and generator.

    ``encode`` a source once, ``detect`` the keypoints of driving frames, ``render`` batches of
    them.  The sides of every image must be multiples of ``size_multiple``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.detector = KeypointDetector(config.keypoint_detector, config.num_kp)
        self.landmark_detector = None
        if config.landmark_detector is not None:
            self.landmark_detector = LandmarkDetector(config.landmark_detector)
        self.dense_motion = DenseMotionNetwork(
            config.dense_motion, config.num_kp, landmarks=self.landmark_detector is not None
        )
        self.generator = Generator(
            config.generator, config.memory, config.num_kp, config.num_landmarks
        )

    @property
    def size_multiple(self) -> int:
        """The multiple that both sides of an image must be; 32 in the published model."""
        downsample = max(
            self.config.keypoint_detector.downsample, self.config.dense_motion.downsample
        )
        return downsample * 2**self.config.generator.depth

    def detect(self, image: Tensor) -> Keypoints:
        """Detect the keypoints of (B, 3, H, W) in [0, 1].  Raises InputError for other sizes."""
        require_multiple(image, self.size_multiple)
        return detect(image, self.detector, self.landmark_detector)

    def encode(self, source: Tensor) -> Encoded:
        """Encode a source (B, 3, H, W) in [0, 1]: all that a driving frame does not change."""
        keypoints = self.detect(source)
        return Encoded(source, self.generator.encode(source), keypoints)

    def render(
        self,
        encoded: Encoded,
        driving: Keypoints,
        noise: Tensor | None = None,
        visible: Tensor | None = None,
    ) -> Rendered:
        """Move the source to the driving keypoints (B, K, ...).

        One encoded source serves any number of driving frames.  ``noise`` (B, levels, S, S) is
        added to the conditioned memory; None takes the fixed noise of inference.  ``visible``
        (B, 1, blocks, blocks) multiplies the occlusion map, block by block: 0 hides the source.
        """
        batch = len(driving.positions)
        source = expand(encoded.source, batch)
        pyramid = [expand(feature, batch) for feature in encoded.pyramid]
        keypoints = Keypoints(*(expand(part, batch) for part in encoded.keypoints))
        motion = self.dense_motion(source, keypoints, driving)
        if visible is not None:
            blocks = F.interpolate(visible, size=motion.occlusion.shape[-2:], mode="nearest")
            motion = motion._replace(occlusion=motion.occlusion * blocks)
        return self.generator.generate(source, pyramid, keypoints, driving, motion, noise=noise)

    def forward(self, source: Tensor, driving: Tensor, noise: Tensor | None = None) -> Rendered:
        """Move a source to the pose of a driving frame, both (B, 3, H, W) in [0, 1]."""
        return self.render(self.encode(source), self.detect(driving), noise)


def detect(image: Tensor, detector: nn.Module, landmark_detector: nn.Module | None) -> Keypoints:
    """Find the keypoints of (B, 3, H, W) in [0, 1], and the landmarks if there is a detector."""
    positions, jacobians = detector(image)
    landmarks = positions[:, :0] if landmark_detector is None else landmark_detector(image)
    return Keypoints(positions, jacobians, landmarks)


def require_multiple(image: Tensor, multiple: int) -> None:
    """Raise InputError where a side of (B, 3, H, W) is not a multiple of ``multiple``."""
    height, width = image.shape[-2:]
    if height % multiple or width % multiple:
        raise InputError(
            f"The network takes images whose sides are multiples of {multiple}: "
            f"found {height} x {width} pixels."
        )


def expand(one: Tensor, batch: int) -> Tensor:
    """Expand (1 or B, ...) to a batch of B, without a copy."""
    return one.expand(batch, *one.shape[1:])
