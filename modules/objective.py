"""The training objective: one forward pass from a batch of pairs to the weighted loss terms.

Everything random in it comes in as ``Draws``, so that a step is a function of its inputs.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from modules import losses
from modules.discriminator import Discriminator
from modules.generator import Rendered
from modules.geometry import Keypoints
from modules.mcnet import MCNet
from modules.perceptual import PerceptualNetwork
from modules.section import Section
from modules.transform import AFFINE_STD, CONTROL_POINTS, CONTROL_STD, RandomTransform


class LossConfig(Section):
    """Section ``loss``: the weight of each term (0 leaves it out) and its settings."""

    scales: tuple[PositiveInt, ...] = (1, 2, 4, 8)  # images are compared this much smaller
    pixel: NonNegativeFloat = 0.0  # of every scale; not in the paper, helps small networks
    gradient: NonNegativeFloat = 0.0  # likewise, of differences between neighbouring pixels
    perceptual: NonNegativeFloat = 10.0  # of every layer and scale
    vgg: str = "pretrained"  # or "random", or the path of a weights file
    equivariance_value: NonNegativeFloat = 10.0
    equivariance_jacobian: NonNegativeFloat = 10.0
    keypoint_distance: NonNegativeFloat = 10.0
    keypoint_distance_form: Literal["hinge", "sign"] = "hinge"  # "sign" is the published form
    keypoint_margin: PositiveFloat = 0.2  # closer keypoints are pushed apart
    memory_consistency: NonNegativeFloat = 10.0
    adversarial: NonNegativeFloat = 0.0
    feature_matching: NonNegativeFloat = 10.0  # of every block; only with adversarial > 0


KEYPOINT_DISTANCES = {
    "hinge": losses.keypoint_distance,
    "sign": losses.keypoint_distance_sign,
}


class Draws(NamedTuple):
    """Everything random in a training step, per sample."""

    affine: Tensor  # (B, 2, 3), noise on the identity
    control: Tensor  # (B, 25), of the thin-plate spline
    noise: Tensor  # (B, levels, S, S), of the conditioned memory


def draw(model: MCNet, batch: int, generator: torch.Generator) -> Draws:
    """The draws of a batch, from a CPU generator."""
    size = 0 if model.config.memory is None else model.config.memory.size
    return Draws(
        affine=AFFINE_STD * torch.randn(batch, 2, 3, generator=generator),
        control=CONTROL_STD * torch.randn(batch, CONTROL_POINTS**2, generator=generator),
        noise=torch.randn(batch, model.num_levels, size, size, generator=generator),
    )


class Step(NamedTuple):
    """A forward pass of the objective."""

    losses: dict[str, Tensor]  # scalars, weighted: their sum is the total
    rendered: Rendered
    driving_keypoints: Keypoints


class Objective(nn.Module):
    """The model and the frozen perceptual network: one forward is one generator step."""

    def __init__(self, model: MCNet, config: LossConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.pyramid = losses.ImagePyramid(config.scales)
        self.vgg = PerceptualNetwork(config.vgg) if config.perceptual > 0 else None

    def forward(
        self,
        source: Tensor,
        driving: Tensor,
        draws: Draws,
        discriminator: Discriminator | None = None,
    ) -> Step:
        """Pairs of frames (B, 3, H, W) in [0, 1] -> the losses and what they were computed from.

        The detector sees source, driving and transformed frames in three passes, whose batch
        statistics are not shared.
        """
        encoded = self.model.encode(source)
        driving_keypoints = self.model.detect(driving)
        rendered = self.model.render(encoded, driving_keypoints, draws.noise)
        transform = RandomTransform(draws.affine, draws.control)
        transformed_keypoints = self.model.detect(transform.frame(driving))

        prediction, compensations = rendered.prediction, rendered.compensations
        generated, real = self.pyramid(prediction), self.pyramid(driving)
        margin = self.config.keypoint_margin
        distance = KEYPOINT_DISTANCES[self.config.keypoint_distance_form]
        terms: dict[str, Callable[[], Tensor]] = {
            "pixel": lambda: losses.pixel(generated, real),
            "gradient": lambda: losses.gradient(generated, real),
            "equivariance_value": lambda: losses.equivariance_value(
                driving_keypoints, transformed_keypoints, transform
            ),
            "equivariance_jacobian": lambda: losses.equivariance_jacobian(
                driving_keypoints, transformed_keypoints, transform
            ),
            "keypoint_distance": lambda: (
                distance(encoded.keypoints.positions, margin)
                + distance(driving_keypoints.positions, margin)
            ),
        }
        if self.vgg is not None:
            vgg = self.vgg
            terms["perceptual"] = lambda: losses.perceptual(generated, real, vgg)
        if compensations:
            terms["memory_consistency"] = lambda: losses.memory_consistency(compensations)
        if discriminator is not None:
            positions = driving_keypoints.positions.detach()
            judged = discriminator(prediction, positions)
            with torch.no_grad():
                judged_real = discriminator(driving, positions)
            terms["adversarial"] = lambda: losses.adversarial_generator(judged)
            terms["feature_matching"] = lambda: losses.feature_matching(judged_real, judged)

        weights = {name: getattr(self.config, name) for name in terms}
        weighted = {name: weights[name] * terms[name]() for name in terms if weights[name] > 0}
        return Step(weighted, rendered, driving_keypoints)
