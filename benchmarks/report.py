"""Result of a benchmark on a machine: JSON with every spread, and Markdown tables made from it.

A row is keyed by the headings of its columns, which name their units.
"""

import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from pydantic import ValidationError

from benchmarks.timing import Spread
from utils.errors import InputError
from utils.section import Section
from utils.worker_pool import usable_cores

Value = str | bool | int | float | Spread | None
Row = dict[str, Value]

NO_VALUE = "-"
GIB = 2**30
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_fp16")


class BenchmarkTable(Section):
    """Rows with much the same columns."""

    title: str
    rows: list[Row]
    note: str = ""  # what the headings do not say


class BenchmarkResult(Section):
    """A run of one benchmark."""

    benchmark: str
    settings: dict[str, Value]
    hardware: dict[str, Value]
    tables: list[BenchmarkTable]


def read(path: Path) -> BenchmarkResult:
    """Read a saved result.  Raises InputError for a file that holds none."""
    try:
        return BenchmarkResult.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(
            f"{path} is not a result of python -m benchmarks ({where}: {first['msg']}): give a "
            "file that --output has written."
        ) from error


def markdown(result: BenchmarkResult) -> str:
    """Format a result for reading."""
    parts = [
        f"## {result.benchmark.capitalize()}",
        f"Hardware: {listed(result.hardware)}.",
        f"Settings: {listed(result.settings)}.",
    ]
    for table in result.tables:
        parts += [f"### {table.title}", rows_as_markdown(table.rows)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts)


def rows_as_markdown(rows: Iterable[Row]) -> str:
    """Format a table with the columns of all rows, in the order in which they first appear."""
    rows = list(rows)
    headings = list(dict.fromkeys(heading for row in rows for heading in row))
    lines = [headings, ["---"] * len(headings)]
    lines += [[text(row.get(heading)) for heading in headings] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def listed(values: Mapping[str, Value]) -> str:
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def text(value: Value) -> str:
    """Format a value with three digits; several measurements as their median and quartiles."""
    if isinstance(value, Spread):
        lower, upper = value.quartiles
        return f"{text(value.median)} ({text(lower)} to {text(upper)})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return value or NO_VALUE


def describe_hardware(device: torch.device) -> dict[str, Value]:
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
