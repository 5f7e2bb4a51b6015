"""The device to compute on, the precision to multiply in, and memory layouts."""

import logging
from typing import TypeVar

import torch
from torch import nn

from utils.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

logger = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)


def flush_denormals() -> None:
    """Let this thread, and threads that it starts, treat float32 below 1e-38 as 0.

    Sharp softmaxes and their gradients are full of such numbers, which slow a CPU down: without
    this a step of a trained landmark detector takes 4 times as long.
    """
    torch.set_flush_denormal(True)


def pick_device(name: str = "auto") -> torch.device:
    """Find the device called ``name``; "auto" takes a CUDA GPU, else Apple's, else the CPU.

    Raises InputError where there is no such device.
    """
    if name == "auto":
        present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind, available in present.items() if available), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise InputError(
            f"No device is called {name!r}: choose auto, cpu, cuda, cuda:1 (and so on) or mps."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"Device {name!r} is absent: PyTorch {torch.__version__} finds "
            f"{torch.cuda.device_count()} CUDA GPUs here; choose another device or auto."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("Device 'mps' is absent: it needs an Apple GPU; choose cpu or auto.")
    logger.info("Device: %s.", device)
    return device


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Find the type to multiply in: ``name`` is fp32, bf16, fp16 or "auto".

    "auto" is bf16 where the hardware of ``device`` multiplies it natively, else fp32.
    """
    if name == "auto":
        name = "bf16" if multiplies_bf16(device) else "fp32"
    if name not in PRECISIONS:
        raise InputError(f"No precision is called {name!r}: choose auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


def precision_name(precision: torch.dtype) -> str:
    """Name a precision: fp32, bf16 or fp16."""
    return next(name for name, dtype in PRECISIONS.items() if dtype == precision)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware of ``device`` multiplies bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Private, but the only query that every supported PyTorch answers.  CPUs with AMX bfloat16
    # have the AVX-512 instructions too.
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def channels_last(network: Network) -> Network:
    """Lay the convolution kernels of a network out channels last, in place, which is faster.

    ``Module.to`` refuses this for networks with parameters of five dimensions.
    """
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
