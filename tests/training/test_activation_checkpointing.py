"""Activation checkpointing: an equal step in less memory."""

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tests.tiny import random_pairs, tiny_model
from training.activation_checkpointing import recompute_blocks
from training.objective import LossConfig, Objective, sample_noise

CONFIG = LossConfig(vgg="random", scales=(1, 2))


def pass_through(recomputing: bool, size: tuple[int, int] = (32, 48)) -> tuple[Objective, int]:
    """Run forward and backward passes; returns the objective and the bytes kept between the two."""
    objective = Objective(tiny_model(), CONFIG)
    if recomputing:
        recompute_blocks(objective)
    noise = sample_noise(objective.model, 2, torch.Generator().manual_seed(0))
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = objective(random_pairs(size), noise).losses
    weights = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}
    sizes = [x.untyped_storage().nbytes() for place, x in kept.items() if place not in weights]
    torch.stack(list(losses.values())).sum().backward()
    return objective, sum(sizes)


def test_gradients_and_batch_statistics_are_the_same():
    expected, found = (pass_through(recomputing)[0].model for recomputing in (False, True))
    gradients = {name: parameter.grad for name, parameter in expected.named_parameters()}
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], msg=name)
    buffers = dict(found.named_buffers())
    for name, buffer in expected.named_buffers():
        assert torch.equal(buffers[name], buffer), name


def test_less_than_half_of_the_memory_is_kept():
    plain, recomputing = (pass_through(one, size=(64, 96))[1] for one in (False, True))
    assert recomputing < plain / 2
