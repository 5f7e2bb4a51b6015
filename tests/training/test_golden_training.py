"""Compare a training step with the reference: losses, gradients, statistics, adversarial terms.

Training mode, batch [x, flip(x)], [y, flip(y)], published sign form of the keypoint distance.
"""

import json
from typing import Any

import numpy as np
import pytest
import torch

from datasets.frame_pairs import unlabelled
from modules.published_weights import DETECTOR_RULES, GENERATOR_RULES, our_name
from modules.transform import RandomTransform
from tests.golden import (
    GOLDEN,
    needs_golden,
    published,
    published_discriminator,
    published_model,
    weights,
)
from tests.modules.test_golden import to_image
from training import losses
from training.objective import LossConfig, LossOutput, Objective, StepNoise

pytestmark = needs_golden

OUR_TERMS = {"kp_distance": "keypoint_distance", "feat_consistent": "memory_consistency"}


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    return json.loads((GOLDEN / "seed0_train.json").read_text())


@pytest.fixture(scope="module")
def frames() -> tuple[torch.Tensor, torch.Tensor]:
    with np.load(GOLDEN / "seed0.npz") as arrays:
        pair = [to_image(arrays[name]) for name in ("source", "driving")]
    return tuple(torch.cat([image, image.flip(3)]) for image in pair)


@pytest.fixture(scope="module")
def noise(reference) -> StepNoise:
    affine = torch.tensor(reference["affine_noise"])
    control = torch.tensor(reference["tps_control_params"]).flatten(1)
    return StepNoise(affine, control, torch.zeros(2, 3, 32, 32), hidden=torch.zeros(2, 1, 8, 8))


@pytest.fixture(scope="module")
def objective() -> Objective:
    objective = Objective(
        published_model().train(), LossConfig(vgg="random", keypoint_distance_form="sign")
    )
    vgg = {
        f"features.{name}": torch.from_numpy(
            weights().fill(f"vgg19.features.{name}", tuple(tensor.shape), 0)
        )
        for name, tensor in objective.vgg.layers.state_dict().items()
    }
    objective.vgg.load(vgg)
    return objective


@pytest.fixture(scope="module")
def step(objective, frames, noise) -> LossOutput:
    """A step whose gradients are left in the objective's parameters."""
    step = objective(unlabelled(*frames), noise)
    sum(step.losses.values()).backward()
    return step


def test_losses_match(reference, step):
    for name, value in reference["losses"].items():
        ours = step.losses[OUR_TERMS.get(name, name)].item()
        assert ours == pytest.approx(value, rel=1e-5), name
    assert sum(step.losses.values()).item() == pytest.approx(reference["total"], rel=1e-5)


def test_gradient_norms_match(reference, objective, step):
    """Gradients whose true value is zero are left out: a bias before a norm or a softmax."""
    rules = {"generator": GENERATOR_RULES, "kp_detector": DETECTOR_RULES}
    gradients = {name: p.grad for name, p in objective.model.named_parameters()}
    compared = 0
    for name, norm in reference["gradient_norms"].items():
        network, published_name = name.split(".", 1)
        if published_name == "kp.bias" or is_bias_before_norm(network, published_name):
            continue
        ours = gradients[our_name(published_name, rules[network])].norm().item()
        assert ours == pytest.approx(norm, rel=2e-2), name
        compared += 1
    assert compared > 150


def is_bias_before_norm(network: str, name: str) -> bool:
    norm = name.replace("conv", "norm").replace(".bias", ".weight")
    return name.endswith("conv.bias") and f"module.{norm}" in published()[network]


def test_running_statistics_match(reference, objective, step):
    expected = reference["running_stat_norms_after_one_step"]
    model = objective.model
    first = model.generator.encoder.first.norm.running_mean.norm().item()
    assert first == pytest.approx(expected["generator.first.norm.running_mean"], rel=1e-5)
    # The detector's three passes leave their mark one after the other.
    detector = model.detector.hourglass.down[0].norm.running_var.norm().item()
    name = "kp_detector.predictor.encoder.down_blocks.0.norm.running_var"
    assert detector == pytest.approx(expected[name], rel=1e-5)


def test_random_transform_matches(reference, frames, noise, step):
    transform = RandomTransform(noise.affine, noise.control)
    frame = transform.frame(frames[1])
    assert frame.abs().mean().item() == pytest.approx(reference["transformed_frame_mean_abs"])
    positions = step.driving_keypoints.positions.detach()
    points = torch.tensor(reference["warp_of_driving_keypoints_first"])
    jacobians = torch.tensor(reference["jacobian_of_driving_keypoints_first"])
    ours = transform.points(positions)[0, : len(points)]
    torch.testing.assert_close(ours, points, atol=1e-5, rtol=0)
    ours = transform.jacobians(positions)[0, : len(jacobians)]
    torch.testing.assert_close(ours, jacobians, atol=1e-5, rtol=0)


def test_adversarial_terms_match(reference, frames, step):
    discriminator = published_discriminator()
    positions = step.driving_keypoints.positions.detach()
    with torch.no_grad():
        real = discriminator(frames[1], positions)
        fake = discriminator(step.rendered.prediction, positions)
    expected = reference["adversarial_losses"]
    ours = {
        "gen_gan": losses.adversarial_generator(fake),
        "feature_matching": 10 * losses.feature_matching(real, fake),
        "disc_gan": losses.adversarial_discriminator(real, fake),
    }
    for name, value in ours.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-5), name
