import pytest
import torch

from modules.geometry import Keypoints
from modules.memory_compensation import (
    MemoryCompensation,
    MemoryConfig,
    merge_channels,
    split_channels,
    split_pyramid,
)
from tests.tiny import random_keypoints


def test_splitting_keeps_even_channels_and_merging_undoes_it():
    feature = torch.randn(2, 6, 4, 5)
    kept, lacking = split_channels(feature)
    torch.testing.assert_close(kept, feature[:, 0::2])
    torch.testing.assert_close(lacking, feature[:, 1::2])
    torch.testing.assert_close(merge_channels(kept, lacking), feature)


def make_compensation(attention: str = "dot") -> MemoryCompensation:
    torch.manual_seed(0)
    config = MemoryConfig(channels=12, size=6, identity_hidden=8, attention=attention)
    return MemoryCompensation(config, level_widths=[8, 16], num_kp=4)


PYRAMID = [torch.randn(2, 8, 16, 24), torch.randn(2, 16, 8, 12)]
SOURCE, DRIVING = random_keypoints(), random_keypoints(seed=1)


def test_every_level_keeps_its_shape_and_half_of_its_channels():
    levels = make_compensation()(PYRAMID, SOURCE, DRIVING)
    for warped, level in zip(PYRAMID, levels, strict=True):
        assert level.compensated.shape == warped.shape
        torch.testing.assert_close(level.compensated[:, 0::2], warped[:, 0::2])
        assert not torch.equal(level.compensated[:, 1::2], warped[:, 1::2])


def test_a_level_does_not_depend_on_the_others():
    compensation = make_compensation()
    torch.nn.init.ones_(compensation.meta_memory.noise_strength)
    noise = torch.randn(2, 2, 6, 6)
    together = compensation(PYRAMID, SOURCE, DRIVING, noise)[1].compensated
    other = compensation([PYRAMID[0] + 1, PYRAMID[1]], SOURCE, DRIVING, noise)[1].compensated
    torch.testing.assert_close(together, other, atol=1e-5, rtol=1e-5)


def test_each_level_and_sample_reads_the_bank_by_its_own_identity_and_noise():
    compensation = make_compensation()
    bank = compensation.meta_memory
    torch.nn.init.ones_(bank.noise_strength)
    noise = torch.randn(2, 2, 6, 6)
    for level, found in enumerate(compensation(PYRAMID, SOURCE, DRIVING, noise)):
        identity = compensation.identity(found.projected, SOURCE)
        memory = bank.condition(identity, noise[:, level])
        convolved = bank.key_value_conv(memory, found.projected.mean(dim=(2, 3)))
        keys, values = compensation.attention.keys_and_values(convolved)
        expected = identity, memory, keys, values
        ours = found.identity, found.memory, found.keys, found.values
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_channels_last_features_and_their_gradients_stay_so():
    last = torch.channels_last
    feature = PYRAMID[0].contiguous(memory_format=last).requires_grad_()
    merged = merge_channels(*split_channels(feature))
    assert merged.is_contiguous(memory_format=last)
    merged.square().sum().backward()
    assert feature.grad.is_contiguous(memory_format=last)


def second(keypoints: Keypoints) -> Keypoints:
    return Keypoints(*(part[1:] for part in keypoints))


@pytest.mark.parametrize("attention", ["dot", "located"])
def test_samples_do_not_depend_on_each_other(attention):
    compensation = make_compensation(attention)
    both = compensation(PYRAMID, SOURCE, DRIVING)[0].compensated[1:]
    one = compensation([level[1:] for level in PYRAMID], second(SOURCE), second(DRIVING))[
        0
    ].compensated
    torch.testing.assert_close(both, one, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("attention", "moves"), [("dot", False), ("located", True)])
def test_the_place_of_the_driving_keypoints_counts_for_located_attention_alone(attention, moves):
    compensation = make_compensation(attention)
    here, there = (compensation(PYRAMID, SOURCE, driving)[1].read for driving in (SOURCE, DRIVING))
    assert torch.equal(here, there) != moves


def test_the_coarsest_levels_read():
    assert split_pyramid([1, 2, 3, 4], 2) == ([1, 2], [3, 4])
    assert split_pyramid([1, 2], 0) == ([1, 2], [])


@pytest.mark.parametrize("attention", ["dot", "located"])
def test_the_bank_and_every_parameter_get_a_gradient(attention):
    compensation = make_compensation(attention)
    noise = torch.randn(2, 2, 6, 6)
    levels = compensation(PYRAMID, SOURCE, DRIVING, noise)
    sum(
        (level.compensated * torch.randn_like(level.compensated)).sum() for level in levels
    ).backward()
    for name, parameter in compensation.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
