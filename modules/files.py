"""Files and folders that are there whole or not at all, whenever the process is ended."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from modules.errors import InputError, OutputError


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder to write into; at the end it is flushed to the disk and renamed."""
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    for path in [*temporary.iterdir(), temporary]:
        flush(path)
    temporary.rename(folder)
    flush(folder.parent)


def write_text_whole(path: Path, text: str) -> None:
    """Write a small file in UTF-8, all of it or nothing.  Raises InputError where that fails.

    Bytes in a path that are no UTF-8 are written as their numbers.
    """
    write_whole(path, text.encode("utf-8", errors="backslashreplace"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing.  Raises InputError where that fails."""
    if not path.name:
        raise InputError(f"{path} does not name a file: add a name.")
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error


def printable(text: str) -> str:
    """A name on one line: what is no UTF-8, or cannot be seen, as numbers."""
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def state_of(paths: Iterable[Path]) -> str:
    """A hash of the names, sizes and times of files, and of those in folders."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            status = file.lstat() if not file.exists() else file.stat()
            digest.update(os.fsencode(f"{file} {status.st_size} {status.st_mtime_ns}\n"))
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Wait until a file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
