"""The training objective: one forward pass from a batch of pairs to the weighted loss terms.

Everything random is an input, ``StepNoise``, so that a step is a function of its inputs.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from datasets.frame_pairs import FramePairs
from modules.attention import usage_entropy
from modules.discriminator import Discriminator
from modules.face_landmarks import PARTS
from modules.generator import VISIBLE_BLOCKS, Rendered
from modules.geometry import Keypoints, gaussian_maps, resize, sample
from modules.landmark_detector import expected_positions
from modules.mcnet import MCNet
from modules.memory_compensation import Compensation
from modules.transform import AFFINE_STD, CONTROL_POINTS, CONTROL_STD, RandomTransform
from training import losses
from training.perceptual import PerceptualNetwork
from utils.section import Section


class LossConfig(Section):
    """Section ``loss``: the weight of each term (0 leaves it out) and its settings."""

    scales: tuple[PositiveInt, ...] = (1, 2, 4, 8)  # factors of downsampling, for comparisons
    pixel: NonNegativeFloat = 0.0  # of every scale; not in the paper, helps small networks
    gradient: NonNegativeFloat = 0.0  # likewise, of differences of neighbouring pixels
    perceptual: NonNegativeFloat = 10.0  # of every layer and scale
    vgg: str = "pretrained"  # or "random", or the path of a weights file
    equivariance_value: NonNegativeFloat = 10.0
    equivariance_jacobian: NonNegativeFloat = 10.0
    keypoint_distance: NonNegativeFloat = 10.0
    keypoint_distance_form: Literal["hinge", "sign"] = "hinge"  # "sign" is the published form
    keypoint_margin: PositiveFloat = 0.2  # closer keypoints are pushed apart
    memory_consistency: NonNegativeFloat = 10.0
    memory_consistency_target: Literal["source", "driving"] = "source"  # the published one
    memory_usage: NonNegativeFloat = 0.0  # of unequal reading of the slots; not in the paper
    hidden_share: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of blocks that hide the source
    # With a landmark detector; not in the paper
    landmarks: NonNegativeFloat = 1.0  # distance of its landmarks; only in its own training
    landmark_openings: NonNegativeFloat = 2.0  # of their openings; likewise
    landmark_movements: NonNegativeFloat = 0.0  # of the openings' changes between frames; likewise
    landmark_heatmaps: NonNegativeFloat = 0.0  # of its heatmaps; likewise
    landmark_cycle: NonNegativeFloat = 0.0  # distance and openings of the landmarks of the result
    face_emphasis: NonNegativeFloat = 0.0  # additional weight of pixels at eyes and mouth
    adversarial: NonNegativeFloat = 0.0
    feature_matching: NonNegativeFloat = 10.0  # of every block; only with adversarial > 0


EMPHASIS_VARIANCE = 0.004  # of the Gaussians around the landmarks of eyes and mouth

KEYPOINT_DISTANCES = {
    "hinge": losses.keypoint_distance,
    "sign": losses.keypoint_distance_sign,
}


class StepNoise(NamedTuple):
    """The random numbers of a training step, per sample."""

    affine: Tensor  # (B, 2, 3), noise on the identity
    control: Tensor  # (B, 25), of the thin-plate spline
    memory_noise: Tensor  # (B, levels, S, S), of the conditioned memory
    hidden: Tensor  # (B, 1, 8, 8) in [0, 1): blocks below loss.hidden_share are hidden


def sample_noise(model: MCNet, batch: int, generator: torch.Generator) -> StepNoise:
    """Sample the noise of a batch from a CPU generator."""
    size = 0 if model.config.memory is None else model.config.memory.size
    return StepNoise(
        affine=AFFINE_STD * torch.randn(batch, 2, 3, generator=generator),
        control=CONTROL_STD * torch.randn(batch, CONTROL_POINTS**2, generator=generator),
        memory_noise=torch.randn(
            batch, model.config.memory_levels, size, size, generator=generator
        ),
        hidden=torch.rand(batch, 1, VISIBLE_BLOCKS, VISIBLE_BLOCKS, generator=generator),
    )


class LossOutput(NamedTuple):
    """A forward pass of an objective: its losses and what they were computed from."""

    losses: dict[str, Tensor]  # scalars, weighted: their sum is the total
    observed: dict[str, Tensor]  # scalars to be logged beside them, without a gradient
    rendered: Rendered | None = None  # None where the landmark detector is trained
    driving_keypoints: Keypoints | None = None  # likewise


class Objective(nn.Module):
    """Objective of the model: its losses, with the frozen perceptual network."""

    def __init__(self, model: MCNet, config: LossConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.pyramid = losses.ImagePyramid(config.scales)
        self.vgg = PerceptualNetwork(config.vgg) if config.perceptual > 0 else None

    def forward(
        self,
        pairs: FramePairs,
        noise: StepNoise,
        discriminator: Discriminator | None = None,
    ) -> LossOutput:
        """Compute the losses of pairs of frames.

        The detector sees source, driving and transformed frames in three passes, each with its own
        batch statistics; a frozen one does not see the transformed frames.
        """
        source, driving, _ = pairs
        encoded = self.model.encode(source)
        driving_keypoints = self.model.detect(driving)
        visible = None
        if self.config.hidden_share > 0:
            visible = (noise.hidden >= self.config.hidden_share).float()
        rendered = self.model.render(encoded, driving_keypoints, noise.memory_noise, visible)
        prediction, compensations = rendered.prediction, rendered.compensations
        generated, real = self.pyramid(prediction), self.pyramid(driving)
        emphasis = self.emphasis(driving_keypoints.landmarks, real)
        terms: dict[str, Callable[[], Tensor]] = {
            "pixel": lambda: losses.pixel(generated, real, emphasis),
            "gradient": lambda: losses.gradient(generated, real, emphasis),
        }
        if any(parameter.requires_grad for parameter in self.model.detector.parameters()):
            terms |= self.detector_terms(driving, encoded.keypoints, driving_keypoints, noise)
        if self.model.landmark_detector is not None:
            landmark_detector, true = self.model.landmark_detector, driving_keypoints.landmarks
            terms["landmark_cycle"] = lambda: losses.landmark_cycle(
                landmark_detector(prediction), true
            )
        if self.vgg is not None:
            vgg = self.vgg
            terms["perceptual"] = lambda: losses.perceptual(generated, real, vgg)
        if compensations:
            terms["memory_consistency"] = lambda: self.memory_consistency(rendered, driving)
            terms["memory_usage"] = lambda: losses.memory_usage(compensations)
        if discriminator is not None:
            positions = driving_keypoints.positions.detach()
            output_fake = discriminator(prediction, positions)
            with torch.no_grad():
                output_real = discriminator(driving, positions)
            terms["adversarial"] = lambda: losses.adversarial_generator(output_fake)
            terms["feature_matching"] = lambda: losses.feature_matching(output_real, output_fake)

        observed = perplexities(compensations) if compensations else {}
        observed |= visibility(rendered.motion.occlusion, driving_keypoints.landmarks)
        return LossOutput(weighted(terms, self.config), observed, rendered, driving_keypoints)

    def memory_consistency(self, rendered: Rendered, driving: Tensor) -> Tensor:
        """Compare with the target, warped source or driving frame (B, 3, H, W): a scalar."""
        if self.config.memory_consistency_target == "source":
            return losses.memory_consistency(rendered.compensations)
        with torch.no_grad():
            features = self.model.generator.memory_features(driving)
        return losses.memory_consistency_driving(
            rendered.compensations, features, rendered.motion.occlusion
        )

    def detector_terms(
        self, driving: Tensor, source_kp: Keypoints, driving_kp: Keypoints, noise: StepNoise
    ) -> dict[str, Callable[[], Tensor]]:
        """Collect the terms for the keypoint detector, from driving frames (B, 3, H, W)."""
        transform = RandomTransform(noise.affine, noise.control)
        positions, jacobians = self.model.detector(transform.frame(driving))
        transformed = driving_kp._replace(positions=positions, jacobians=jacobians)
        margin = self.config.keypoint_margin
        distance = KEYPOINT_DISTANCES[self.config.keypoint_distance_form]
        return {
            "equivariance_value": lambda: losses.equivariance_value(
                driving_kp, transformed, transform
            ),
            "equivariance_jacobian": lambda: losses.equivariance_jacobian(
                driving_kp, transformed, transform
            ),
            "keypoint_distance": lambda: (
                distance(source_kp.positions, margin) + distance(driving_kp.positions, margin)
            ),
        }

    def emphasis(self, landmarks: Tensor, pyramid: list[Tensor]) -> list[Tensor] | None:
        """Weight the pixels: more around eyes and mouth, and 1 on average.

        Returns (B, 1, h, w) for every scale of a pyramid, or None for equal weights.
        """
        if self.config.face_emphasis == 0 or landmarks.shape[1] == 0:
            return None
        points = landmarks[:, PARTS["eyes"].start : PARTS["mouth"].stop]
        near = gaussian_maps(points, pyramid[0].shape[-2:], EMPHASIS_VARIANCE).amax(1, True)
        maps = [1 + self.config.face_emphasis * resize(near, x.shape[-2:]) for x in pyramid]
        return [each / each.mean(dim=(2, 3), keepdim=True) for each in maps]


class LandmarkObjective(nn.Module):
    """Objective of a model's landmark detector, which is trained alone on labelled landmarks."""

    vgg = None

    def __init__(self, model: MCNet, config: LossConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def forward(
        self, pairs: FramePairs, noise: StepNoise, discriminator: Discriminator | None = None
    ) -> LossOutput:
        """Compute the losses of both frames of the pairs; frames without labels are left out."""
        assert self.model.landmark_detector is not None
        logits = self.model.landmark_detector.logits(torch.cat([pairs.source, pairs.driving]))
        found = expected_positions(logits)
        true = torch.cat([pairs.landmarks[:, 0], pairs.landmarks[:, 1]])
        terms = {
            "landmarks": lambda: losses.landmark_distance(found, true),
            "landmark_openings": lambda: losses.landmark_openings(found, true),
            "landmark_movements": lambda: losses.landmark_movements(
                torch.stack(found.chunk(2), dim=1), pairs.landmarks
            ),
            "landmark_heatmaps": lambda: losses.landmark_heatmaps(logits, true),
        }
        return LossOutput(weighted(terms, self.config), observed={})


@torch.no_grad()
def perplexities(compensations: list[Compensation]) -> dict[str, Tensor]:
    """Count the slots that a position and a batch read: exponentials of entropies, level mean.

    From 1, with all attention on one slot, to S S.
    """
    position = torch.stack([level.entropy.mean() for level in compensations])
    batch = torch.stack([usage_entropy(level.usage) for level in compensations])
    return {
        "memory/perplexity_position": position.mean().exp(),
        "memory/perplexity_batch": batch.mean().exp(),
    }


@torch.no_grad()
def visibility(occlusion: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
    """Average the occlusion map (B, 1, h, w) at the landmarks (B, 68, 2) of eyes and of mouth.

    1 where the source shows all of them.  Empty without landmarks (B, 0, 2).
    """
    if landmarks.shape[1] == 0:
        return {}
    return {
        f"visible/{part}": sample(
            occlusion, landmarks[:, None, PARTS[part].start : PARTS[part].stop], align_corners=True
        ).mean()
        for part in ("eyes", "mouth")
    }


def weighted(terms: Mapping[str, Callable[[], Tensor]], config: LossConfig) -> dict[str, Tensor]:
    """Compute the terms, scalars, whose weights are not zero, multiplied by them."""
    weights = {name: getattr(config, name) for name in terms}
    return {name: weights[name] * terms[name]() for name in terms if weights[name] > 0}
