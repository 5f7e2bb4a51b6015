"""The ranks of a training run, and batch norm over the samples of all of them.

The number of ranks does not change the training as long as all hold equally many samples.
"""

import logging
import os
import warnings
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.config import TrainConfig
from utils.device import flush_denormals
from utils.errors import InputError


def start_processes(config: TrainConfig) -> Accelerator:
    """Join the other processes that torchrun started, if any, each on its own device.

    Raises InputError for a precision that the device does not have.
    """
    on_cuda = torch.cuda.is_available()
    if config.precision == "fp16" and not on_cuda:
        raise InputError("train.precision is fp16, which needs a GPU: take bf16 or fp32.")
    flush_denormals()
    torch.backends.cuda.matmul.allow_tf32 = False  # coordinates need all digits
    torch.backends.cudnn.allow_tf32 = config.tf32
    torch.backends.cudnn.benchmark = True
    accelerator = Accelerator(
        cpu=not on_cuda,  # or several processes without a GPU would not find each other
        mixed_precision="no" if config.precision == "fp32" else config.precision,
    )
    assert accelerator.num_processes == int(os.environ.get("WORLD_SIZE", "1"))
    if not accelerator.is_main_process:
        logging.disable(logging.INFO)
    return accelerator


def several_ranks() -> bool:
    """Whether there are other ranks."""
    return dist.is_initialized() and dist.get_world_size() > 1


def any_rank(flag: bool) -> bool:
    """Whether ``flag`` is true on any rank.  All ranks have to ask; none waits for its GPU."""
    if not several_ranks():
        return flag
    found = torch.tensor(flag, dtype=torch.int32)
    dist.all_reduce(found, dist.ReduceOp.MAX, group=cpu_group())
    return bool(found)


@cache
def cpu_group() -> Any:
    """Connect the CPUs of all ranks, which call this together."""
    return dist.new_group(backend="gloo")


def wrap_ddp(network: nn.Module, device: torch.device) -> nn.Module:
    """Let several ranks average the gradients of a network.

    Buffers are not exchanged: batch statistics are the same on all ranks already.
    """
    if not several_ranks():
        return network
    with warnings.catch_warnings():  # of the option by which buffers are left alone
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            network,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """Let several ranks normalise by the statistics of all their samples, in place.

    Parameters and buffers stay the same tensors.
    """
    if not several_ranks():
        return network
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return converted
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(parent, name, SynchronisedBatchNorm2d.like(child))
    return network


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over all ranks on the CPU, where ``torch.nn.SyncBatchNorm`` refuses to run."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "SynchronisedBatchNorm2d":
        """Make a synchronised norm that shares the parameters and buffers of ``norm``."""
        assert norm.affine
        assert norm.track_running_stats
        synchronised = cls(norm.num_features, norm.eps, norm.momentum)
        synchronised._parameters, synchronised._buffers = norm._parameters, norm._buffers
        return synchronised.train(norm.training)

    def forward(self, feature: Tensor) -> Tensor:
        """Normalise (B, C, H, W), with statistics in float32 also under autocast."""
        if not self.training:
            return super().forward(feature)
        x = feature.to(self.weight.dtype)
        mean: Tensor = MeanOverRanks.apply(x.mean(dim=(0, 2, 3)))  # (C,)
        centred = x - mean[:, None, None]
        variance: Tensor = MeanOverRanks.apply(centred.square().mean(dim=(0, 2, 3)))
        self._track(mean.detach(), variance.detach(), dist.get_world_size() * x[:, 0].numel())
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(feature.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)  # unbiased
        self.num_batches_tracked.add_(1)


class MeanOverRanks(torch.autograd.Function):
    """Average values (C,) over all ranks; gradients flow back to each of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        mean: Tensor = values / dist.get_world_size()
        dist.all_reduce(mean)
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return MeanOverRanks.forward(ctx, gradient)
