"""The processes of a training run, and batch norm over the samples of all of them.

Their number does not change the training, if every process holds as many samples as any other.
"""

import logging
import os
import warnings
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
    torch.backends.cuda.matmul.allow_tf32 = config.tf32
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


def is_first_process() -> bool:
    """Whether this is the only process, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def are_several() -> bool:
    """Whether there are other processes."""
    return dist.is_initialized() and dist.get_world_size() > 1


def over_processes(network: nn.Module, device: torch.device) -> nn.Module:
    """``network``, whose gradients are averaged over the processes if there are several.

    Buffers are left alone: batch statistics are the same on all processes already.
    """
    if not are_several():
        return network
    with warnings.catch_warnings():  # of the option by which buffers are left alone
        warnings.simplefilter("ignore", FutureWarning)
        return DistributedDataParallel(
            network,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,
            gradient_as_bucket_view=True,
        )


class Hosts:
    """The processors of all processes, which agree on something without their GPUs."""

    def __init__(self) -> None:
        self.group: Any = dist.new_group(backend="gloo") if are_several() else None

    def any(self, mine: bool) -> bool:
        """Whether it is true on some process; all of them have to ask."""
        if self.group is None:
            return mine
        flag = torch.tensor(mine, dtype=torch.int32)
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.group)
        return bool(flag)


def synchronise_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """``network`` with every batch norm replaced by one over all processes, if there are several.

    Parameters and buffers are the same tensors as before.
    """
    if not are_several():
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
    """``torch.nn.SyncBatchNorm`` for the CPU, where that one refuses to run."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "SynchronisedBatchNorm2d":
        """The same norm, synchronised: it shares the parameters and buffers of ``norm``."""
        assert norm.affine
        assert norm.track_running_stats
        synchronised = cls(norm.num_features, norm.eps, norm.momentum)
        synchronised._parameters, synchronised._buffers = norm._parameters, norm._buffers
        return synchronised.train(norm.training)

    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); statistics are in float32, also under autocast."""
        if not self.training:
            return super().forward(feature)
        x = feature.to(self.weight.dtype)
        mean: Tensor = MeanOverProcesses.apply(x.mean(dim=(0, 2, 3)))  # (C,)
        centred = x - mean[:, None, None]
        variance: Tensor = MeanOverProcesses.apply(centred.square().mean(dim=(0, 2, 3)))
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


class MeanOverProcesses(torch.autograd.Function):
    """The mean of the values of all processes; gradients flow back to each of them."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        mean: Tensor = values / dist.get_world_size()
        dist.all_reduce(mean)
        return mean

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return MeanOverProcesses.forward(ctx, gradient)
