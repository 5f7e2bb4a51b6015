"""Settings of all tests."""

import os
import signal
from collections.abc import Iterator

# One thread for each of the processes that share the tests, and for those that tests start: set
# before torch is imported.  A training has other roundings with other numbers of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from utils.device import flush_denormals

# face-alignment compiles at its first use, which takes longer than the tests.  Set
# before anything imports it: partly compiled code fails.
os.environ["NUMBA_DISABLE_JIT"] = "1"

# A suite that was started behind an & or under nohup inherits that these are ignored, and tests
# send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Set as in every script, before other threads exist.
flush_denormals()


@pytest.fixture(autouse=True)
def same_number_of_threads() -> Iterator[None]:
    """Undo what a test, or a library in it (accelerate on several ranks), sets for the process."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


SEARCHED: dict[tuple[object, ...], list[object]] = {}


@pytest.fixture
def equal_pictures_are_searched_once(monkeypatch) -> None:
    """Share the results of the cascade, which takes most of the time, between the tests."""
    from faces import main_face

    find = main_face.search

    def search(picture, sides, smallest):
        key = hash(picture.tobytes()), picture.shape, sides, smallest
        if key not in SEARCHED:
            SEARCHED[key] = find(picture, sides, smallest)
        return SEARCHED[key]

    monkeypatch.setattr(main_face, "search", search)
