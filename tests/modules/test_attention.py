import math

import pytest
import torch

from modules.attention import (
    DotAttention,
    LocatedAttention,
    direction,
    place_maps,
    read_memory,
)
from modules.geometry import Keypoints
from tests.tiny import random_keypoints

SIZE = (8, 12)


def faces(positions: torch.Tensor, landmarks: torch.Tensor | None = None) -> Keypoints:
    jacobians = torch.eye(2).expand(*positions.shape[:2], 2, 2)
    return Keypoints(positions, jacobians, positions[:, :0] if landmarks is None else landmarks)


def test_reading_is_softmax_attention_over_the_memory():
    torch.manual_seed(0)
    query, keys, values = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 6, 6), torch.randn(2, 5, 6, 6)
    attention = torch.einsum("bchw,bcst->bhwst", query, keys) / 4.0
    attention = attention.flatten(3).softmax(dim=-1)
    expected = torch.einsum("bhwm,bcm->bchw", attention, values.flatten(2))
    reading = read_memory(query, keys, values, temperature=4.0)
    torch.testing.assert_close(reading.read, expected)
    torch.testing.assert_close(reading.usage, attention.mean(dim=(1, 2)))
    entropy = -(attention * attention.log()).sum(dim=-1).mean(dim=(1, 2))
    torch.testing.assert_close(reading.entropy, entropy)


def test_entropy_tells_even_from_sharp_attention():
    values, even = torch.randn(1, 5, 6, 6), torch.zeros(1, 5, 3, 4)
    reading = read_memory(even, torch.randn(1, 5, 6, 6), values, temperature=4.0)
    assert reading.entropy.item() == pytest.approx(math.log(36), abs=1e-4)
    keys = torch.zeros(1, 5, 6, 6)
    keys[0, :, 2, 3] = 100
    reading = read_memory(torch.ones(1, 5, 3, 4), keys, values, temperature=1.0)
    assert reading.entropy.item() == pytest.approx(0)
    assert reading.usage[0, 2 * 6 + 3].item() == pytest.approx(1)


def test_the_published_form_reads_what_is_not_negative():
    torch.manual_seed(0)
    feature, convolved = torch.randn(2, 6, *SIZE), torch.randn(2, 12, 4, 4)
    attention = DotAttention(temperature=4.0)
    query = attention.query(feature.clone(), random_keypoints())
    torch.testing.assert_close(query, feature.clamp_min(0))
    keys, values = attention.keys_and_values(convolved.clone())
    torch.testing.assert_close(torch.cat([keys, values], dim=1), convolved.clamp_min(0))


def test_located_logits_are_scaled_cosines_with_centred_keys():
    torch.manual_seed(0)
    attention = LocatedAttention(channels=6, num_points=4, scale=30.0)
    keypoints = random_keypoints()
    feature, convolved = torch.randn(2, 6, *SIZE), torch.randn(2, 12, 4, 4)
    query = attention.query(feature, keypoints)
    keys, values = attention.keys_and_values(convolved)
    torch.testing.assert_close(values, convolved[:, 6:])

    looks = feature / feature.norm(dim=1, keepdim=True)
    place = torch.einsum(
        "ck,bkhw->bchw", attention.place.weight[:, :, 0, 0], place_maps(keypoints, SIZE)
    )
    centred = convolved[:, :6] - convolved[:, :6].mean(dim=(2, 3), keepdim=True)
    cosines = torch.cosine_similarity(
        (looks + place).flatten(2)[..., :, None], centred.flatten(2)[..., None, :], dim=1
    )
    attended = (30 * cosines).softmax(dim=-1)
    expected = torch.einsum("bpm,bcm->bcp", attended, values.flatten(2)).unflatten(2, SIZE)
    torch.testing.assert_close(attention(query, keys, values).read, expected)


def test_a_located_query_finds_the_slot_of_its_keypoint_where_the_feature_says_nothing():
    """Every keypoint has a channel, and three of nine slots have the key of one of them."""
    attention = LocatedAttention(channels=3, num_points=3, scale=30.0)
    attention.place.weight.data = 4 * torch.eye(3)[..., None, None]
    positions = torch.tensor([[[-0.8, -0.8], [0.8, -0.8], [0.0, 0.8]]])
    slots = [4, 0, 7]
    keys = torch.zeros(1, 3, 9)
    for channel, slot in enumerate(slots):
        keys[0, channel, slot] = 5.0
    values = torch.arange(9.0).expand(1, 3, 9)
    convolved = torch.cat([keys, values], dim=1).unflatten(2, (3, 3))
    query = attention.query(torch.full((1, 3, 11, 11), 0.2), faces(positions))
    reading = attention(query, *attention.keys_and_values(convolved))
    for (x, y), slot in zip(positions[0].tolist(), slots, strict=True):
        column, row = (round((c + 1) / 2 * 10) for c in (x, y))
        found = reading.read[0, :, row, column]
        torch.testing.assert_close(found, torch.full((3,), float(slot)), atol=0.05, rtol=0)


def test_landmarks_tell_a_place_more_finely_than_keypoints():
    point = torch.zeros(1, 1, 2)
    wide, narrow = place_maps(faces(point, point), (11, 11))[0]
    assert wide[5, 5] == narrow[5, 5] == 1
    assert narrow[5, 6] < wide[5, 6]


def test_a_common_part_of_all_keys_does_not_count():
    torch.manual_seed(0)
    attention = LocatedAttention(channels=6, num_points=4, scale=30.0)
    convolved = torch.randn(2, 12, 4, 4)
    moved = convolved.clone()
    moved[:, :6] += 10 * torch.randn(2, 6, 1, 1)
    keys, again = (attention.keys_and_values(x)[0] for x in (convolved, moved))
    torch.testing.assert_close(keys, again, atol=1e-4, rtol=0)


def test_a_feature_of_zeros_has_no_direction_and_a_finite_gradient():
    feature = torch.zeros(1, 3, 2, 2, requires_grad=True)
    found = direction(feature)
    assert found.abs().max() == 0
    found.sum().backward()
    assert feature.grad.isfinite().all()


def test_the_direction_of_half_precision_is_taken_in_full():
    """Squares of these values overflow in float16."""
    feature = torch.full((1, 4, 2, 2), 1000.0, dtype=torch.float16)
    torch.testing.assert_close(direction(feature), torch.full_like(feature, 0.5))


def test_gradients_reach_every_slot():
    torch.manual_seed(0)
    attention = LocatedAttention(channels=6, num_points=4, scale=30.0)
    convolved = torch.randn(2, 12, 4, 4, requires_grad=True)
    query = attention.query(torch.randn(2, 6, *SIZE), random_keypoints())
    reading = attention(query, *attention.keys_and_values(convolved))
    (reading.read * torch.randn_like(reading.read)).sum().backward()
    for part in convolved.grad.chunk(2, dim=1):  # of keys, of values
        of_slots = part.abs().amax(dim=1)
        assert of_slots.min() > 1e-6 * of_slots.max()
