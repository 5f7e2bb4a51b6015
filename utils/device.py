"""Which device to compute on, and in which precision."""

import logging

import torch

from utils.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

logger = logging.getLogger(__name__)


def flush_denormals() -> None:
    """Let this thread, and those that it starts, take float32 below 1e-38 as 0.

    Sharp softmaxes and their gradients are full of such numbers, with which a CPU computes many
    times more slowly: a step of a trained landmark detector takes 4 times as long without.
    """
    torch.set_flush_denormal(True)


def pick_device(name: str = "auto") -> torch.device:
    """The device called ``name``; "auto" takes a CUDA GPU, else Apple's, else the processor.

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
    """The type to multiply in: ``name`` is fp32, bf16, fp16 or "auto".

    "auto" is bf16 where the hardware of ``device`` multiplies it natively, else fp32.
    """
    if name == "auto":
        name = "bf16" if multiplies_bf16(device) else "fp32"
    if name not in PRECISIONS:
        raise InputError(f"No precision is called {name!r}: choose auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


def precision_name(precision: torch.dtype) -> str:
    """What a precision is called here: fp32, bf16 or fp16."""
    return next(name for name, dtype in PRECISIONS.items() if dtype == precision)


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware of ``device`` multiplies bfloat16 natively."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Private, but the only question that every supported PyTorch answers.  Processors with AMX
    # bfloat16 have the AVX-512 instructions too.
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
