"""Compare batch norm over ranks with torch's own over the whole batch."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, multiprocessing, nn

from training.config import TrainConfig
from training.distributed import (
    SynchronisedBatchNorm2d,
    start_processes,
    synchronise_batch_norm,
)

NUM_PROCESSES = 2


def network() -> nn.Sequential:
    torch.manual_seed(0)
    norms = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    return norms.double()


def two_passes(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Collect outputs in training and in eval mode, gradients, and running statistics."""
    batch = batch.clone().requires_grad_()
    output = network(batch)
    output.pow(3).sum().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    evaluated = network.eval()(batch)
    return {
        "output": output.detach(),
        "evaluated": evaluated.detach(),
        "input": batch.grad,
        **gradients,
        **dict(network.named_buffers()),
    }


def process(rank: int, folder: Path, batch: Tensor) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=NUM_PROCESSES
    )
    synchronised = synchronise_batch_norm(network(), torch.device("cpu"))
    kinds = [type(module) for module in synchronised.modules()]
    assert kinds.count(SynchronisedBatchNorm2d) == 2
    torch.save(two_passes(synchronised, batch.chunk(NUM_PROCESSES)[rank]), folder / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_normalise_as_one_with_the_whole_batch(tmp_path):
    batch = 3 + 2 * torch.randn(4, 3, 5, 6, dtype=torch.float64, generator=torch.Generator())
    multiprocessing.spawn(process, (tmp_path, batch), NUM_PROCESSES)
    expected = two_passes(network(), batch)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(NUM_PROCESSES)]
    for name, value in expected.items():
        one, other = (part[name] for part in parts)
        if name in ("output", "evaluated", "input"):
            torch.testing.assert_close(torch.cat([one, other]), value)
        elif name in dict(network().named_buffers()):
            torch.testing.assert_close(one, value)
            torch.testing.assert_close(other, value)
        else:
            torch.testing.assert_close(one + other, value)  # the wrapper averages them


@pytest.mark.parametrize("tf32", [True, False])
def test_products_of_coordinates_never_use_tf32(tf32):
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32, cudnn.allow_tf32 = True, not tf32
        start_processes(TrainConfig(tf32=tf32))
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, tf32)
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def test_a_single_process_keeps_its_batch_norms():
    assert synchronise_batch_norm(network(), torch.device("cpu"))[0].__class__ is nn.BatchNorm2d


@pytest.mark.parametrize("training", [True, False])
def test_a_synchronised_norm_shares_the_tensors_and_mode_of_its_model(training):
    norm = nn.BatchNorm2d(3).train(training)
    synchronised = SynchronisedBatchNorm2d.like(norm)
    assert synchronised.weight is norm.weight
    assert synchronised.running_mean is norm.running_mean
    assert synchronised.training == training
