"""Frames to a device and back, while it computes others; and the time for which it computes.

Work for a CUDA device is queued: only who waits for a result, or copies from or to ordinary memory,
is held up.  Other devices are waited for at once.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Transfer:
    """Copies between arrays and a device; with CUDA through pinned memory, without waiting."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.uploads = torch.cuda.Stream(device) if device.type == "cuda" else None

    def upload(self, array: np.ndarray) -> Tensor:
        """``array`` on the device, beside what it computes."""
        tensor = torch.from_numpy(array)
        if self.uploads is None:
            return tensor.to(self.device)
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.uploads):
            uploaded = tensor.pin_memory().to(self.device, non_blocking=True)
        computing.wait_stream(self.uploads)
        uploaded.record_stream(computing)  # its memory was not made for that stream
        return uploaded

    def download(self, *tensors: Tensor) -> "Download":
        """``tensors`` as they will be, once the device has computed them."""
        if self.device.type != "cuda":
            return Download([tensor.cpu() for tensor in tensors], None)
        pinned = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in tensors]
        for copy, tensor in zip(pinned, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        return Download(pinned, torch.cuda.current_stream(self.device).record_event())


class Download(NamedTuple):
    """Tensors on their way from a device."""

    tensors: list[Tensor]
    arrived: torch.cuda.Event | None

    def wait(self) -> list[np.ndarray]:
        """The tensors, in memory of their own."""
        if self.arrived is None:
            return [tensor.numpy() for tensor in self.tensors]
        self.arrived.synchronize()
        return [tensor.numpy().copy() for tensor in self.tensors]  # pinned memory is scarce


class BusyTime:
    """Seconds for which a device has computed what was asked for inside ``counted``.

    On CUDA that is from when the device begins a block until it ends it, whoever waits.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.past = 0.0
        self.queued: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def counted(self) -> Iterator[None]:
        if self.device.type != "cuda":
            start = time.perf_counter()
            yield
            self.past += time.perf_counter() - start
            return
        stream = torch.cuda.current_stream(self.device)
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record(stream)
        yield
        ended.record(stream)
        self.queued.append((began, ended))
        while self.queued and self.queued[0][1].query():
            self._count_first()

    @property
    def seconds(self) -> float:
        """Waits for the device."""
        while self.queued:
            self.queued[0][1].synchronize()
            self._count_first()
        return self.past

    def _count_first(self) -> None:
        began, ended = self.queued.popleft()
        self.past += began.elapsed_time(ended) / 1000
