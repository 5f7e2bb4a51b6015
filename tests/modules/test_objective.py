import pytest
import torch
from torch import nn

from modules import losses
from modules.discriminator import Discriminator, DiscriminatorConfig
from modules.objective import LossConfig, Objective, draw
from tests.tiny import TINY, random_images, tiny_model

CONFIG = LossConfig(perceptual=0, pixel=10)


def make_objective(config: LossConfig = CONFIG) -> Objective:
    return Objective(tiny_model(), config)


def forward(objective: Objective, discriminator: Discriminator | None = None):
    draws = draw(objective.model, 2, torch.Generator().manual_seed(0))
    return objective(random_images(), random_images(seed=1), draws, discriminator)


def test_draws_are_a_function_of_the_generator():
    model = tiny_model()
    one, other = (draw(model, 3, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert [part.shape for part in one] == [(3, 2, 3), (3, 25), (3, 2, 6, 6)]
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_a_step_is_a_function_of_its_inputs():
    one, other = forward(make_objective()), forward(make_objective())
    assert {name: loss.item() for name, loss in one.losses.items()} == {
        name: loss.item() for name, loss in other.losses.items()
    }


def test_every_term_has_its_weight():
    doubled = CONFIG.model_dump() | {"equivariance_value": 20.0, "pixel": 5.0}
    one, other = forward(make_objective()), forward(make_objective(LossConfig(**doubled)))
    assert other.losses["pixel"].item() == pytest.approx(one.losses["pixel"].item() / 2)
    ratio = other.losses["equivariance_value"] / one.losses["equivariance_value"]
    assert ratio.item() == pytest.approx(2)


@pytest.mark.parametrize("term", ["pixel", "gradient"])
def test_pictures_are_compared_at_every_scale(term):
    objective = make_objective(LossConfig(**{"perceptual": 0.0, "scales": (1, 4), term: 3.0}))
    step, driving = forward(objective), random_images(seed=1)
    images = (objective.pyramid(image) for image in (step.rendered.prediction, driving))
    expected = 3 * getattr(losses, term)(*images)
    assert step.losses[term].item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    "term",
    [
        *("pixel", "gradient", "perceptual", "equivariance_value", "equivariance_jacobian"),
        *("keypoint_distance", "memory_consistency", "adversarial", "feature_matching"),
    ],
)
def test_a_weight_of_zero_leaves_its_term_out_and_each_term_sends_gradients(term):
    off = {name: 0.0 for name, value in LossConfig().model_dump().items() if type(value) is float}
    config = {**off, "keypoint_margin": 5.0, "scales": (1, 2), "vgg": "random", term: 1.0}
    objective = make_objective(LossConfig(**config))
    torch.manual_seed(1)
    torch.nn.init.normal_(objective.model.detector.jacobians.weight, std=0.1)
    discriminator = Discriminator(DiscriminatorConfig(width=4, depth=2), TINY.num_kp)
    step = forward(objective, discriminator)
    assert list(step.losses) == [term]
    step.losses[term].backward()
    gradients = [p.grad for p in objective.model.parameters() if p.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_keypoints_are_detached_from_the_discriminator():
    off = {name: 0.0 for name, value in LossConfig().model_dump().items() if type(value) is float}
    objective = make_objective(LossConfig(**{**off, "keypoint_margin": 0.2, "adversarial": 1.0}))
    discriminator = Discriminator(DiscriminatorConfig(width=4, depth=2), TINY.num_kp)
    # Without the image channels the discriminator sees keypoints alone.
    with torch.no_grad():
        discriminator.convs[0].weight[:, :3] = 0
    forward(objective, discriminator).losses["adversarial"].backward()
    assert all(
        p.grad is None or p.grad.abs().max() == 0 for p in objective.model.detector.parameters()
    )


def test_bfloat16_is_close_to_float32():
    exact = forward(make_objective())
    with torch.autocast("cpu", torch.bfloat16):
        half = forward(make_objective())
    for name, loss in exact.losses.items():
        assert half.losses[name].item() == pytest.approx(loss.item(), rel=0.05), name


def test_a_step_is_compiled_in_one_piece_and_stays_the_same():
    """With the part of the compiler that depends on our code alone, not on a C++ compiler."""
    eager, compiled = make_objective(), make_objective()
    nn.Module.compile(compiled, backend="aot_eager", fullgraph=True)
    for objective in (eager, compiled):
        torch.stack(list(forward(objective).losses.values())).sum().backward()
    gradients = {name: parameter.grad for name, parameter in eager.named_parameters()}
    for name, parameter in compiled.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-4, rtol=1e-3, msg=name)
