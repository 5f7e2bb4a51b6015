import numpy as np
import pytest

from benchmarks.processes import Usage, memory_columns, usage_of
from utils.errors import InputError

MIB = 2**20


def fill(mebibytes: int) -> int:
    return np.ones(mebibytes * MIB, np.uint8).size // MIB


def fail() -> None:
    raise InputError("This cannot be.")


def test_the_peak_is_that_of_the_call_alone():
    held = np.ones(400 * MIB, np.uint8)  # here, not in the new process
    small, large = usage_of(fill, 1), usage_of(fill, 200)
    assert (small.result, large.result) == (1, 200)
    assert large.peak - small.peak == pytest.approx(200, abs=20)
    assert small.peak < 700
    assert held.all()


def test_what_a_call_raises_is_raised_here():
    with pytest.raises(InputError, match="This cannot be"):
        usage_of(fail)


def test_the_columns_name_the_gpu_where_there_is_one():
    assert memory_columns(Usage(5.0, None, None)) == {"peak resident, MiB": 5.0}
    both = memory_columns(Usage(5.0, 7.0, None))
    assert both == {"peak resident, MiB": 5.0, "peak on the GPU, MiB": 7.0}
