import time

import numpy as np
import torch

from inference.device_transfer import BusyTime, Transfer

CPU = torch.device("cpu")


def test_arrays_come_back_as_they_went():
    arrays = [np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8), np.array(True)]
    transfer = Transfer(CPU)
    found = transfer.download(*map(transfer.upload, arrays)).wait()
    for array, back in zip(arrays, found, strict=True):
        np.testing.assert_array_equal(back, array)
        assert back.dtype == array.dtype


def test_only_what_is_inside_counted_counts(monkeypatch):
    clock = iter([10.0, 12.5, 100.0, 100.25])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    busy = BusyTime(CPU)
    for expected in (2.5, 2.75):
        with busy.counted():
            pass
        assert busy.seconds == expected
