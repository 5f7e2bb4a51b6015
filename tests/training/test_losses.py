import math

import pytest
import torch

from modules.discriminator import DiscriminatorOutput
from modules.face_landmarks import NUM_LANDMARKS, OPENINGS, eye_distance
from modules.geometry import Keypoints, gaussian_maps
from modules.memory_compensation import Compensation
from modules.transform import RandomTransform
from tests.tiny import random_images, random_keypoints
from training import losses
from training.perceptual import PerceptualNetwork
from utils.errors import InputError


def test_a_pyramid_has_an_image_for_every_scale():
    pyramid = losses.ImagePyramid((1, 2, 4))(random_images(size=(16, 24)))
    assert [tuple(image.shape[-2:]) for image in pyramid] == [(16, 24), (8, 12), (4, 6)]


def test_pixel_differences_are_summed_over_scales():
    one = [torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 2, 2)]
    other = [torch.full((1, 3, 4, 4), 0.5), torch.full((1, 3, 2, 2), 0.25)]
    assert losses.pixel(one, other).item() == pytest.approx(0.75)


def test_weights_say_how_much_a_pixel_counts():
    x, flat = torch.arange(4.0).expand(1, 3, 4, 4).clone(), torch.zeros(1, 3, 4, 4)
    right = torch.tensor([0.0, 0.0, 0.0, 4.0]).expand(1, 1, 4, 4)
    assert losses.pixel([x], [flat], [right]).item() == pytest.approx(3)
    assert losses.gradient([x], [flat], [right]).item() == pytest.approx(4 / 3)
    x.requires_grad_()
    losses.pixel([x], [flat], [right]).backward()
    assert x.grad[..., :3].abs().max() == 0
    torch.testing.assert_close(x.grad[..., 3], torch.full((1, 3, 4), 4 / 48))


def test_the_gradient_loss_compares_slopes_down_and_across():
    x = torch.arange(4.0).expand(1, 3, 4, 4)  # rises by 1 a pixel to the right
    flat = torch.full((1, 3, 4, 4), 7.0)
    assert losses.gradient([x], [flat]).item() == pytest.approx(1)
    assert losses.gradient([x.mT, 2 * x], [flat, flat]).item() == pytest.approx(3)
    assert losses.gradient([x + 5], [x]).item() == 0
    blurred = flat.clone().requires_grad_()
    losses.gradient([blurred], [x]).backward()
    assert blurred.grad.abs().sum() > 0


def test_the_gradient_loss_needs_neighbours():
    images = [torch.zeros(1, 3, 8, 2), torch.zeros(1, 3, 4, 1)]
    assert losses.gradient(images[:1], images[:1]).item() == 0
    with pytest.raises(InputError, match=r"largest of loss\.scales"):
        losses.gradient(images, images)


def test_the_perceptual_loss_sends_no_gradient_into_the_real_image():
    network = PerceptualNetwork("random")
    real = random_images(seed=1).requires_grad_()
    fake = random_images().requires_grad_()
    loss = losses.perceptual([fake], [real], network)
    expected = sum(
        (one - other).abs().mean() for one, other in zip(network(fake), network(real), strict=True)
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    assert fake.grad.abs().max() > 0
    assert real.grad is None


def test_keypoints_that_move_with_the_frame_are_equivariant():
    generator = torch.Generator().manual_seed(0)
    transform = RandomTransform(
        0.05 * torch.randn(2, 2, 3, generator=generator),
        0.005 * torch.randn(2, 25, generator=generator),
    )
    transformed = random_keypoints()
    jacobians = transform.jacobians(transformed.positions) @ transformed.jacobians
    driving = Keypoints(transform.points(transformed.positions), jacobians, transformed.landmarks)
    assert losses.equivariance_value(driving, transformed, transform).item() < 1e-6
    assert losses.equivariance_jacobian(driving, transformed, transform).item() < 1e-5
    other = random_keypoints(seed=3)
    assert losses.equivariance_value(other, transformed, transform).item() > 0.1
    assert losses.equivariance_jacobian(other, transformed, transform).item() > 0.1


def test_close_keypoints_are_pushed_apart():
    positions = torch.tensor([[[0.0, 0.0], [0.1, 0.0], [0.9, 0.9]]], requires_grad=True)
    loss = losses.keypoint_distance(positions)
    assert loss.item() == pytest.approx(2 * 0.1 / 9)  # one pair, both ways, of 3 x 3
    loss.backward()
    assert positions.grad[0, 0, 0] > 0 > positions.grad[0, 1, 0]  # descending leads apart
    assert positions.grad[0, 2].abs().max() == 0


def test_the_published_form_counts_close_pairs_and_does_not_train():
    positions = torch.tensor([[[0.0, 0.0], [0.1, 0.0], [0.9, 0.9]]], requires_grad=True)
    loss = losses.keypoint_distance_sign(positions)
    assert loss.item() == pytest.approx(2 * 2 / 9)
    loss.backward()
    assert positions.grad.abs().max() == 0


EMPTY = Compensation(**dict.fromkeys(Compensation._fields, torch.empty(0)))


def make_compensation(values: torch.Tensor, projected: torch.Tensor) -> Compensation:
    return EMPTY._replace(values=values, projected=projected)


def random_faces(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, NUM_LANDMARKS, 2, generator=generator)


def test_landmarks_are_compared_in_distances_of_the_eyes():
    true = random_faces()
    found = true + torch.tensor([0.1, 0.0])
    expected = (0.05 / eye_distance(true)).mean()
    assert losses.landmark_distance(found, true).item() == pytest.approx(expected.item())
    assert losses.landmark_openings(found, true).item() == pytest.approx(0, abs=1e-6)
    scaled = losses.landmark_distance(3 * found, 3 * true)
    assert scaled.item() == pytest.approx(expected.item())


def test_an_opening_is_the_difference_of_its_two_landmarks():
    true = random_faces()
    wider = true.clone()
    wider[:, 62, 1] -= 0.26  # the upper lip: one opening, of two coordinates
    expected = (0.26 / (2 * len(OPENINGS)) / eye_distance(true)).mean()
    assert losses.landmark_openings(wider, true).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("landmark", "times"), [(41, 4), (19, 2), (54, 2), (64, 2)])
def test_what_moves_less_than_lips_counts_more(landmark, times):
    true = random_faces()
    lip, other = true.clone(), true.clone()
    lip[:, 66, 1] += 0.1  # each a landmark of one opening
    other[:, landmark, 1] += 0.1
    one, more = (losses.landmark_openings(found, true).item() for found in (lip, other))
    assert more == pytest.approx(times * one)


def test_a_movement_is_the_change_of_an_opening_between_two_frames():
    true = torch.stack([random_faces(), random_faces(1)], dim=1).double()
    found = true + torch.tensor([0.2, 0.1])
    found[:, :, 62, 1] -= 0.3  # wrong by the same in both frames
    assert losses.landmark_movements(found, true).item() == pytest.approx(0, abs=1e-6)
    found[:, 1, 62, 1] -= 0.26
    expected = (0.26 / (2 * len(OPENINGS)) / eye_distance(true[:, 0])).mean()
    assert losses.landmark_movements(found, true).item() == pytest.approx(expected.item())


def test_movements_count_where_both_frames_have_labels():
    true = torch.stack([random_faces(), random_faces(1)], dim=1)
    found = torch.stack([random_faces(2), random_faces(3)], dim=1).requires_grad_()
    last = losses.landmark_movements(found[2:], true[2:]).item()
    true[0, 0, 5], true[1, 1, 5] = torch.nan, torch.nan
    loss = losses.landmark_movements(found, true)
    assert loss.item() == pytest.approx(last)
    loss.backward()
    assert found.grad.isfinite().all()
    assert found.grad[:2].abs().max() == 0


def test_heatmaps_learn_where_the_landmark_is():
    true = 2 * random_faces() - 1
    maps = gaussian_maps(true, (32, 32), losses.HEATMAP_VARIANCE).flatten(2)
    target = maps / maps.sum(dim=2, keepdim=True)
    least = -(target * target.clamp(min=1e-30).log()).sum(dim=2).mean().item()
    exact = (maps + 1e-30).log().unflatten(2, (32, 32))
    assert losses.landmark_heatmaps(exact, true).item() == pytest.approx(least, rel=1e-4)
    nothing = losses.landmark_heatmaps(torch.zeros_like(exact), true)
    assert nothing.item() == pytest.approx(math.log(32 * 32))
    assert losses.landmark_heatmaps(exact.roll(4, dims=3), true).item() > 2 * least


def test_heatmaps_of_landmarks_that_are_unknown_or_outside_do_not_count():
    true = 2 * random_faces() - 1
    logits = torch.linspace(-1, 1, 3 * NUM_LANDMARKS * 256).view(3, NUM_LANDMARKS, 16, 16)
    logits.requires_grad_()
    first = losses.landmark_heatmaps(logits[:1], true[:1]).item()
    true[1], true[2] = torch.nan, 1.5
    loss = losses.landmark_heatmaps(logits, true)
    assert loss.item() == pytest.approx(first)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1:].abs().max() == 0
    assert losses.landmark_heatmaps(logits, torch.full_like(true, torch.nan)).item() == 0


def test_faces_without_labels_do_not_count():
    true, found = random_faces(), random_faces(1).requires_grad_()
    both = losses.landmark_distance(found[:2], true[:2]).item()
    true[2, 5] = torch.nan
    loss = losses.landmark_distance(found, true) + 0 * losses.landmark_openings(found, true)
    assert loss.item() == pytest.approx(both)
    loss.backward()
    assert found.grad.isfinite().all()
    assert found.grad[2].abs().max() == 0
    assert losses.landmark_distance(found, torch.full_like(true, torch.nan)).item() == 0


def test_memory_values_are_drawn_to_the_features_and_not_back():
    values = torch.zeros(2, 3, 4, 4, requires_grad=True)
    projected = torch.ones(2, 3, 8, 6, requires_grad=True)
    level = make_compensation(values, projected)
    loss = losses.memory_consistency([level, level])
    assert loss.item() == pytest.approx(2)
    loss.backward()
    assert values.grad.abs().max() > 0
    assert projected.grad is None


def test_memory_values_are_drawn_to_the_driving_frame_where_the_source_does_not_show_it():
    values = torch.zeros(1, 3, 4, 4, requires_grad=True)
    left_hidden = torch.ones(1, 1, 8, 8)
    left_hidden[..., :4] = 0
    driving = torch.full((1, 3, 16, 16), 2.0, requires_grad=True)
    level = EMPTY._replace(values=values)
    loss = losses.memory_consistency_driving([level, level], [driving, driving], left_hidden)
    assert loss.item() == pytest.approx(2 * 2)  # the weight is 1 on average
    loss.backward()
    assert (values.grad[..., :2] < 0).all()
    assert values.grad[..., 2:].abs().max() == 0
    assert driving.grad is None


def test_a_source_that_shows_everything_teaches_the_memory_nothing():
    values, visible = torch.zeros(1, 3, 4, 4), torch.ones(1, 1, 4, 4)
    level = EMPTY._replace(values=values)
    assert losses.memory_consistency_driving([level], [values + 1], visible).item() == 0


def test_equal_use_of_the_slots_over_a_batch_costs_nothing():
    every_other = torch.tensor([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]])
    level, collapsed = EMPTY._replace(usage=every_other), EMPTY._replace(usage=torch.eye(4)[:1])
    assert losses.memory_usage([level]).item() == pytest.approx(0, abs=1e-6)
    assert losses.memory_usage([level, collapsed]).item() == pytest.approx(math.log(4), abs=1e-5)


def test_the_use_of_slots_has_a_finite_gradient_where_one_is_never_read():
    logits = torch.tensor([[0.0, -200.0, -1.0]], requires_grad=True)
    losses.memory_usage([EMPTY._replace(usage=logits.softmax(dim=-1))]).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 0] > 0 > logits.grad[0, 2]  # what is read most loses


def test_adversarial_terms_are_least_squares():
    real = DiscriminatorOutput([torch.ones(1, 2, 3, 3)], torch.full((1, 1, 2, 2), 0.8))
    fake = DiscriminatorOutput([torch.zeros(1, 2, 3, 3)], torch.full((1, 1, 2, 2), 0.3))
    assert losses.adversarial_generator(fake).item() == pytest.approx(0.7**2)
    assert losses.adversarial_discriminator(real, fake).item() == pytest.approx(0.2**2 + 0.3**2)
    assert losses.feature_matching(real, fake).item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_differences_are_those_of_l1_and_so_are_their_gradients(dtype):
    ones = [random_images().to(dtype).requires_grad_(), random_images(seed=2).to(dtype)]
    others = [random_images(seed=1).to(dtype), random_images(seed=3).to(dtype)]
    found = losses.sum_of_differences(ones, others)
    pairs = [(one.double(), other.double()) for one, other in zip(ones, others, strict=True)]
    expected = sum(torch.nn.functional.l1_loss(*pair) for pair in pairs)
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    (gradient,) = torch.autograd.grad(3 * found, ones[0])
    (reference,) = torch.autograd.grad(3 * expected, ones[0])
    torch.testing.assert_close(gradient, reference)
