import platform
import subprocess
import sys

import pytest

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
