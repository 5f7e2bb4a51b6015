"""The machine of a measurement: CPU, GPU, memory, versions."""

import os
import platform
from pathlib import Path

import torch

from benchmarks.report import Value
from utils.worker_pool import usable_cores

GIB = 2**30
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_fp16")


def describe(device: torch.device) -> dict[str, Value]:
    """Describe what the figures depend on: CPU, GPU, memory, versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    flags = cpu_info("flags").split()
    found: dict[str, Value] = {
        "device": device.type,
        "CPU": cpu_info("model name") or platform.processor() or platform.machine(),
        "instructions": " ".join(name for name in INSTRUCTIONS if name in flags),
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


def cpu_info(key: str) -> str:
    """The value of ``key`` for the first CPU in Linux's list; "" where there is none."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.is_file() else []
    found = (line.partition(":")[2] for line in lines if line.partition(":")[0].strip() == key)
    return next(found, "").strip()
