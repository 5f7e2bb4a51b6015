import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.processes import MIB, RESIDENT, peaks_of
from utils.errors import InputError


def fill(mebibytes: int) -> None:
    assert np.ones(mebibytes * MIB, np.uint8).all()


def fail() -> None:
    raise InputError("This cannot be.")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_peak_is_that_of_the_call_alone():
    held = np.ones(400 * MIB, np.uint8)  # here, not in the new process
    with ThreadPoolExecutor() as threads:
        small, large = threads.map(lambda size: peaks_of(fill, size)[RESIDENT], (1, 200))
    assert large - small == pytest.approx(200, abs=20)
    assert small < 700
    assert held.all()


def test_errors_and_the_death_of_the_process_are_one_sentence():
    with pytest.raises(InputError, match="This cannot be"):
        peaks_of(fail)
    with pytest.raises(InputError, match=r"The process that measured die died, .* memory"):
        peaks_of(die)
