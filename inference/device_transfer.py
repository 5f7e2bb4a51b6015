"""Transfer frames to a device and back while it computes others, and time what it computes.

Work for a CUDA device is queued: only waiting for a result, or copying from or to pageable memory,
blocks the caller.  Other devices compute at once.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
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
        """Copy an array to the device while it computes."""
        tensor = torch.from_numpy(array)
        if self.uploads is None:
            return tensor.to(self.device)
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.uploads):
            uploaded = tensor.pin_memory().to(self.device, non_blocking=True)
        computing.wait_stream(self.uploads)
        uploaded.record_stream(computing)  # its memory was allocated on the other stream
        return uploaded

    def download(self, *tensors: Tensor) -> "Download":
        """Begin to copy tensors from the device, which may still have to compute them."""
        if self.device.type != "cuda":
            return Download([tensor.cpu() for tensor in tensors], None)
        pinned = [torch.empty_like(tensor, device="cpu", pin_memory=True) for tensor in tensors]
        for copy, tensor in zip(pinned, tensors, strict=True):
            copy.copy_(tensor, non_blocking=True)
        return Download(pinned, torch.cuda.current_stream(self.device).record_event())


class Download(NamedTuple):
    """Tensors that are being copied from a device."""

    tensors: list[Tensor]
    arrived: torch.cuda.Event | None

    def wait(self) -> list[np.ndarray]:
        """Wait for the tensors; returns them in memory of their own."""
        if self.arrived is None:
            return [tensor.numpy() for tensor in self.tensors]
        self.arrived.synchronize()
        return [tensor.numpy().copy() for tensor in self.tensors]  # pinned memory is scarce


class BusyTime:
    """Seconds in which a device computed what was launched inside ``counted``.

    Events on the stream measure it on CUDA, so that nothing has to wait.  Threads that compute at
    the same time are counted once.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.past = 0.0
        self.lock = Lock()
        self.computing, self.since = 0, 0.0  # threads in ``counted``, and the time of the first
        self.queued: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add the time of a block."""
        if self.device.type != "cuda":
            self._enter()
            try:
                yield
            finally:
                self._leave()
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
        """All seconds so far; waits for the device."""
        while self.queued:
            self.queued[0][1].synchronize()
            self._count_first()
        return self.past

    def _enter(self) -> None:
        with self.lock:
            if self.computing == 0:
                self.since = time.perf_counter()
            self.computing += 1

    def _leave(self) -> None:
        with self.lock:
            self.computing -= 1
            if self.computing == 0:
                self.past += time.perf_counter() - self.since

    def _count_first(self) -> None:
        began, ended = self.queued.popleft()
        self.past += began.elapsed_time(ended) / 1000
