import platform
import subprocess
import sys

import numpy as np
import pytest

from utils.malloc import outside_heap

FAULTS = """
import resource
import torch
from utils.malloc import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {keep}:
    assert keep_freed_memory()
# glibc first keeps the few bytes by which a block was aligned, at most seven of each size, and
# until then a block may lie where the next of its size finds too little room.
print(min(faults() for _ in range(32)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_freed_memory_is_used_again():
    def fewest(keep: bool) -> int:
        done = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True
        )
        return int(done.stdout)

    assert fewest(keep=True) < fewest(keep=False) / 10


def test_an_array_outside_the_heap_is_the_same():
    array = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)[:, ::2]
    copy = outside_heap(array)
    np.testing.assert_array_equal(copy, array)
    copy[0] = 7  # it is writable, and its own
    assert array[0].tolist() != copy[0].tolist()
    assert outside_heap(array[:0]).shape == (0, 2, 5)
