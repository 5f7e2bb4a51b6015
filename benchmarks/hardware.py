"""The machine of a measurement: its name, and the most that it multiplies."""

import os
import platform
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F

from benchmarks.report import Row, Table, Value
from benchmarks.timing import Call, Spread, take_turns
from utils.device import PRECISIONS, precision_name

GIB = 2**30
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_fp16")

Result = TypeVar("Result")

# Batch, channels and side of the convolution; side of the matrices.
LARGE = {"cpu": (4, 512, 64, 3072), "cuda": (32, 512, 64, 8192), "mps": (4, 512, 64, 4096)}


def describe(device: torch.device) -> dict[str, Value]:
    """What the figures depend on: processor, GPU, memory, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Value] = {
        "device": device.type,
        "processor": processor(),
        "instructions": " ".join(instructions()),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory, GiB": memory / GIB,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "GPU": properties.name,
            "GPU memory, GiB": properties.total_memory / GIB,
            "CUDA": torch.version.cuda,
            "cuDNN": str(torch.backends.cudnn.version()),
        }
    found |= {
        "oneDNN": torch.backends.mkldnn.is_available(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
    }
    return found


def processor() -> str:
    """The name that the processor gives itself."""
    return cpu_info("model name") or platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Those that decide how fast it multiplies, as Linux calls them."""
    flags = cpu_info("flags").split()
    return [name for name in INSTRUCTIONS if name in flags]


def cpu_info(key: str) -> str:
    """What Linux says of the first processor; "" where there is no such thing."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    found = (line.partition(":")[2] for line in lines if line.partition(":")[0].strip() == key)
    return next(found, "").strip()


def usable_cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Peak(NamedTuple):
    """The most that a device multiplies, in FLOP/s."""

    convolution: Spread
    product: Spread

    @property
    def flops(self) -> float:
        return max(self.convolution.median, self.product.median)


Peaks = dict[str, Peak]  # by arithmetic


def arithmetic(precision: torch.dtype, device: torch.device, tf32: bool) -> str:
    """fp32, bf16 or fp16; or tf32, the cheaper multiplication of float32 that CUDA may use."""
    if tf32 and precision == torch.float32 and device.type == "cuda":
        return "tf32"
    return precision_name(precision)


def measure_peaks(device: torch.device, arithmetics: Iterable[str], seconds: float) -> Peaks:
    """The peak of every arithmetic: a large 3 x 3 convolution, channels last, and a large product.

    PyTorch may search for the fastest kernels.
    """
    batch, channels, side, rows = LARGE[device.type]
    names = list(dict.fromkeys(arithmetics))
    calls: dict[str, Call] = {}
    for name in names:
        dtype = torch.float32 if name == "tf32" else PRECISIONS[name]
        image, kernel, matrix = (
            torch.rand(shape, device=device, dtype=dtype)
            for shape in ((batch, channels, side, side), (channels, channels, 3, 3), (rows, rows))
        )
        image, kernel = (x.contiguous(memory_format=torch.channels_last) for x in (image, kernel))
        chosen = partial(with_kernels, Kernels(True, *2 * [name == "tf32"]))
        convolution = partial(F.conv2d, image, kernel, padding=1)
        calls[f"{name} convolution"] = partial(chosen, convolution)
        calls[f"{name} product"] = partial(chosen, partial(torch.mm, matrix, matrix))
    with torch.inference_mode():
        took = take_turns(calls, seconds, device)
    flops = {"convolution": 18 * batch * channels**2 * side**2, "product": 2 * rows**3}
    return {
        name: Peak(*(took[f"{name} {kind}"].rate(count) for kind, count in flops.items()))
        for name in names
    }


class Kernels(NamedTuple):
    """Which kernels PyTorch may take on CUDA; the defaults are its own."""

    search: bool = False  # try them for every new shape
    tf32_in_convolutions: bool = True
    tf32_in_products: bool = False


def with_kernels(kernels: Kernels, call: Callable[[], Result]) -> Result:
    """The result of a call that may take these kernels."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = Kernels(cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32)
    cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = kernels
    try:
        return call()
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def peak_table(peaks: Peaks) -> Table:
    """Every peak in TFLOP/s."""
    rows: list[Row] = [
        {
            "arithmetic": name,
            "convolution, TFLOP/s": peak.convolution.times(1e-12),
            "matrix product, TFLOP/s": peak.product.times(1e-12),
        }
        for name, peak in peaks.items()
    ]
    return Table(title="Measured peak", rows=rows, note="The greater of the two is the peak.")
