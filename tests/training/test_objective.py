from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from modules.discriminator import Discriminator, DiscriminatorConfig
from modules.face_landmarks import NUM_LANDMARKS
from tests.tiny import (
    TINY,
    TINY_LANDMARKS,
    float64,
    random_images,
    random_keypoints,
    random_pairs,
    tiny_model,
)
from training import losses
from training.objective import LandmarkObjective, LossConfig, Objective, sample_noise, visibility

SAME_IN_FLOAT64 = 1e-10  # of the largest value: a rounding is 1e-16, one passed on many times less

CONFIG = LossConfig(perceptual=0, pixel=10)
OFF = {name: 0.0 for name, value in LossConfig().model_dump().items() if type(value) is float}


def only(**settings: Any) -> LossConfig:
    """A configuration in which all other weights are zero."""
    return LossConfig(**{**OFF, "keypoint_margin": 0.2, "scales": (1, 2), **settings})


def make_objective(config: LossConfig = CONFIG) -> Objective:
    return Objective(tiny_model(), config)


def forward(objective: Objective, discriminator: Discriminator | None = None):
    noise = sample_noise(objective.model, 2, torch.Generator().manual_seed(0))
    return objective(random_pairs(), noise, discriminator)


def test_noise_is_a_function_of_the_generator():
    model = tiny_model()
    one, other = (sample_noise(model, 3, torch.Generator().manual_seed(s)) for s in (1, 1))
    assert [part.shape for part in one] == [(3, 2, 3), (3, 25), (3, 2, 6, 6), (3, 1, 8, 8)]
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


def test_a_share_of_the_blocks_is_hidden_by_the_noise():
    hiding = LossConfig(**CONFIG.model_dump() | {"hidden_share": 0.25})
    one, other = (forward(make_objective(hiding)) for _ in range(2))
    shown = forward(make_objective())
    torch.testing.assert_close(one.rendered, other.rendered, atol=0, rtol=0)

    blocks = sample_noise(tiny_model(), 2, torch.Generator().manual_seed(0)).hidden
    is_hidden = (blocks < 0.25).repeat_interleave(2, -2).repeat_interleave(3, -1)  # 16 x 24
    assert 0.1 < is_hidden.float().mean() < 0.4
    expected = shown.rendered.motion.occlusion.masked_fill(is_hidden, 0)
    torch.testing.assert_close(one.rendered.motion.occlusion, expected)


def test_the_perplexity_of_the_attention_is_observed_and_not_a_loss():
    step = forward(make_objective())
    assert not step.losses.keys() & step.observed.keys()
    position = step.observed["memory/perplexity_position"]
    batch = step.observed["memory/perplexity_batch"]
    assert 1 <= position <= batch <= 36  # slots
    assert not position.requires_grad
    assert not batch.requires_grad


def test_a_network_without_a_memory_has_nothing_to_observe():
    objective = Objective(tiny_model(TINY.model_copy(update={"memory": None})), CONFIG)
    assert forward(objective).observed == {}


def test_values_may_be_held_to_the_driving_frame():
    settings = CONFIG.model_dump() | {"memory_consistency_target": "driving"}
    objective = make_objective(LossConfig(**settings))
    step = forward(objective)
    rendered = step.rendered
    features = objective.model.generator.memory_features(random_pairs().driving)
    assert [f.shape for f in features] == [
        level.projected.shape for level in rendered.compensations
    ]
    expected = losses.memory_consistency_driving(
        rendered.compensations, features, rendered.motion.occlusion
    )
    assert step.losses["memory_consistency"].item() == pytest.approx(10 * expected.item())


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
        *("keypoint_distance", "memory_consistency", "memory_usage", "adversarial"),
        "feature_matching",
    ],
)
def test_a_weight_of_zero_leaves_its_term_out_and_each_term_sends_gradients(term):
    objective = make_objective(only(**{term: 1.0}, keypoint_margin=5.0, vgg="random"))
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
    objective = make_objective(only(adversarial=1.0))
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
    """Only the part of the compiler that depends on our code is used, without a C++ compiler."""
    with float64():
        eager, compiled = make_objective(), make_objective()
        nn.Module.compile(compiled, backend="aot_eager", fullgraph=True)
        for objective in (eager, compiled):
            torch.stack(list(forward(objective).losses.values())).sum().backward()
    gradients = {name: parameter.grad for name, parameter in eager.named_parameters()}
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name, parameter in compiled.named_parameters():
        # Some are sums of large terms that cancel each other, which round as the large ones do.
        bound = {"atol": SAME_IN_FLOAT64 * largest, "rtol": 0}
        torch.testing.assert_close(parameter.grad, gradients[name], **bound, msg=name)


def test_a_frozen_detector_is_not_taught():
    objective = make_objective(CONFIG)
    objective.model.detector.eval().requires_grad_(False)
    terms = forward(objective).losses
    assert "pixel" in terms
    assert not terms.keys() & {"equivariance_value", "equivariance_jacobian", "keypoint_distance"}


def test_landmarks_of_the_result_are_drawn_to_those_of_the_driving_frame():
    model = tiny_model(TINY_LANDMARKS)
    model.landmark_detector.eval().requires_grad_(False)
    objective = Objective(model, only(landmark_cycle=2.0))
    step = forward(objective)
    found = model.landmark_detector(step.rendered.prediction)
    true = step.driving_keypoints.landmarks
    expected = losses.landmark_distance(found, true) + 2 * losses.landmark_openings(found, true)
    assert step.losses["landmark_cycle"].item() == pytest.approx(2 * expected.item())
    step.losses["landmark_cycle"].backward()
    assert model.generator.decoder.final.weight.grad.abs().max() > 0


def test_eyes_and_mouth_count_more_and_the_mean_stays():
    objective = Objective(tiny_model(TINY_LANDMARKS), only(pixel=1.0, face_emphasis=3.0))
    landmarks = torch.zeros(1, NUM_LANDMARKS, 2)
    landmarks[:, :36] = 0.9  # jaw, brows and nose do not count more
    fine, coarse = objective.emphasis(
        landmarks, [random_images(1, size) for size in ((33, 49), (17, 25))]
    )
    assert fine.shape == (1, 1, 33, 49)
    assert coarse.shape == (1, 1, 17, 25)
    for weights in (fine, coarse):
        assert weights.mean().item() == pytest.approx(1)
        height, width = weights.shape[-2:]
        centre, corner = weights[0, 0, height // 2, width // 2], weights[0, 0, -1, -1]
        assert (centre / corner).item() == pytest.approx(4, rel=0.01)


class Calls(TorchDispatchMode):
    """Record the names of the operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


def test_terms_of_landmarks_copy_no_numbers_to_the_device():
    objective = Objective(tiny_model(TINY_LANDMARKS), only(pixel=1.0, face_emphasis=3.0))
    landmarks = random_keypoints(num_kp=NUM_LANDMARKS).positions
    with Calls() as calls:
        losses.landmark_cycle(landmarks, landmarks)
        objective.emphasis(landmarks, [random_images()])
    assert "aten.stack.default" in calls.names
    assert not calls.names & {"aten.index.Tensor", "aten.lift_fresh.default"}


def test_without_an_emphasis_or_landmarks_all_pixels_count_alike():
    image = [random_images(1)]
    plain = Objective(tiny_model(TINY_LANDMARKS), only(pixel=1.0))
    assert plain.emphasis(torch.zeros(1, NUM_LANDMARKS, 2), image) is None
    blind = Objective(tiny_model(), only(pixel=1.0, face_emphasis=3.0))
    assert blind.emphasis(torch.zeros(1, 0, 2), image) is None


def test_the_landmark_detector_is_taught_by_the_labels_of_both_frames():
    model = tiny_model(TINY_LANDMARKS)
    config = only(landmarks=1.0, landmark_openings=2.0, landmark_heatmaps=0.5)
    objective = LandmarkObjective(model, config)
    pairs = random_pairs()
    found = model.eval().landmark_detector(torch.cat([pairs.source, pairs.driving]))
    pairs.landmarks[0, 0] = found[0].detach() + 0.1  # of the first source
    pairs.landmarks[1, 1] = found[3].detach() - 0.2  # of the second driving frame
    labels = torch.stack([pairs.landmarks[0, 0], pairs.landmarks[1, 1]])
    expected = losses.landmark_distance(found[[0, 3]], labels)
    noise = sample_noise(model, 2, torch.Generator().manual_seed(0))
    terms = objective(pairs, noise).losses
    assert terms["landmarks"].item() == pytest.approx(expected.item(), rel=1e-4)
    logits = model.landmark_detector.logits(torch.cat([pairs.source, pairs.driving]))[[0, 3]]
    heatmaps = 0.5 * losses.landmark_heatmaps(logits, labels)
    assert terms["landmark_heatmaps"].item() == pytest.approx(heatmaps.item(), rel=1e-4)
    assert list(terms) == ["landmarks", "landmark_openings", "landmark_heatmaps"]
    sum(terms.values()).backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"landmark_detector"}


def test_the_landmark_detector_is_taught_how_openings_change_in_a_pair():
    model = tiny_model(TINY_LANDMARKS)
    objective = LandmarkObjective(model, only(landmark_movements=2.0))
    pairs = random_pairs()
    found = torch.stack([model.eval().landmark_detector(frame) for frame in pairs[:2]], dim=1)
    pairs.landmarks[:] = found.detach().roll(1, dims=0)  # those of the other pair
    noise = sample_noise(model, 2, torch.Generator().manual_seed(0))
    loss = objective(pairs, noise).losses["landmark_movements"]
    expected = 2 * losses.landmark_movements(found, pairs.landmarks)
    assert expected.item() > 0
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_the_part_of_eyes_and_mouth_that_the_source_shows_is_observed():
    occlusion = torch.zeros(1, 1, 9, 9)
    occlusion[..., :4] = 1
    landmarks = torch.full((1, NUM_LANDMARKS, 2), 0.75)
    landmarks[:, 36:48] = -0.75
    seen = visibility(occlusion, landmarks)
    assert {name: value.item() for name, value in seen.items()} == pytest.approx(
        {"visible/eyes": 1, "visible/mouth": 0}
    )
    assert visibility(occlusion, torch.zeros(1, 0, 2)) == {}
