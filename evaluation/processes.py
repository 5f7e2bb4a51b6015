"""Processes of one evaluation, on one machine or several, which share its units.

They are started by ``torchrun`` and need an output folder that all of them see; each writes what it
finished there, so nothing but the waiting for each other goes between them.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple, TypeVar

import torch
import torch.distributed as dist

from utils.errors import InputError

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=7)  # of the quickest process for the slowest


class Processes(NamedTuple):
    """Rank of this process among all."""

    rank: int
    world_size: int

    @property
    def is_main(self) -> bool:
        """Whether this is the first process, which writes the result."""
        return self.rank == 0

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Select the items that this process takes."""
        return items[self.rank :: self.world_size]

    def wait_for_all(self) -> None:
        """Wait for all processes; raises InputError where another one has ended."""
        if self.world_size > 1:
            try:
                dist.barrier()
            except RuntimeError as error:
                raise InputError("Another process has ended: its message says why.") from error


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did; each takes its own GPU.

    What is computed in float32 there is computed so, without TensorFloat32.
    """
    processes = Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if not processes.is_main:
        logging.disable(logging.INFO)
    if processes.world_size > 1:
        dist.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield processes
    finally:
        if processes.world_size > 1:
            dist.destroy_process_group()
