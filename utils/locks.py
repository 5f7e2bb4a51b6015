"""Locks on folders that one process writes at a time; they end with the process that holds them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from utils.errors import InputError, OutputError


@contextmanager
def sole_writer(*locks: Path, busy: str, timeout: float = 0) -> Iterator[None]:
    """Hold lock files, whose folders are created where they are missing.

    Raises InputError with the sentence ``busy`` where another process holds one of them for longer
    than ``timeout`` seconds, and OutputError where one cannot be written.
    """
    with ExitStack() as stack:
        for lock in locks:
            try:
                lock.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(FileLock(lock, timeout=timeout))
            except Timeout as error:
                raise InputError(busy) from error
            except OSError as error:
                reason = error.strerror or error
                raise OutputError(f"{lock.parent} cannot be written: {reason}.") from error
        yield
