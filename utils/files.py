"""Files and folders that are there whole or not at all, whenever the process is ended."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psutil import pid_exists

from utils.errors import InputError, OutputError

# What operating systems and storages leave beside the files of people, in lower case
LEFT_BY_SYSTEMS = {
    *("__macosx", ".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin"),
    *("system volume information", "lost+found", "@eadir", "#recycle", "#snapshot"),
}


def left_by_system(name: str) -> bool:
    """Whether a file or folder of this name was put there by a system, and not by people."""
    return name.lower() in LEFT_BY_SYSTEMS or name.startswith("._")


def passed_over(name: str) -> bool:
    """Whether a file or folder of this name is none of the data: hidden, or left by a system."""
    return name.startswith(".") or left_by_system(name)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A temporary folder to write into; at the end it is flushed to the disk and renamed.

    Where that is broken off nothing of it is left: it would fill a full disk.
    """
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in [*temporary.iterdir(), temporary]:
            flush(path)
        temporary.rename(folder)
        flush(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text_whole(path: Path, text: str) -> None:
    """Write a small file in UTF-8, all of it or nothing.  Raises InputError where that fails.

    Bytes in a path that are no UTF-8 are written as their numbers.
    """
    write_whole(path, text.encode("utf-8", errors="backslashreplace"))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, all of it or nothing.  Raises InputError where that fails.

    A symbolic link stays, and what it points to is written.
    """
    if not path.name:
        raise InputError(f"{path} does not name a file: add a name.")
    place = link_target(path)
    temporary = place.with_name(f".{place.name}.new")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, place)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Raises OutputError where no file can be written: for work that ends with one to ask first."""
    place = link_target(path)
    if place.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; choose another name.")
    if not place.parent.is_dir():
        raise OutputError(f"{path} cannot be written: create the folder {place.parent} first.")
    if not os.access(place.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: its folder is read-only.")


def require_folder(folder: Path) -> None:
    """Raises OutputError where no folder can be made or written into: to be asked before work."""
    place = link_target(folder).absolute()
    there = next(path for path in (place, *place.parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"{folder} cannot be a folder: {there} is a file; choose another name.")
    if not os.access(there, os.W_OK):
        raise OutputError(f"{folder} cannot be written: {there} is read-only.")


def link_target(path: Path) -> Path:
    """The file or folder that a symbolic link points to; another path itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temporary_path(path: Path) -> Path:
    """The name under which this process makes ``path``: hidden beside it, with its own number."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Delete what killed processes made under a ``temporary_path`` of ``name``, * for any.

    Nothing may be in the making there by this process, whose number may have been another's.
    """
    for path in folder.glob(f".{name}.*"):
        number = path.name.rpartition(".")[2]
        if number.isdecimal() and (int(number) == os.getpid() or not pid_exists(int(number))):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there and can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def require_apart(output: str | Path, *inputs: str | Path | None) -> None:
    """Refuse an output that is, holds or lies in something that is read, through links too.

    A folder of links is where they lead as well.  Raises InputError, which names both.
    """
    for given in inputs:
        if given is None:
            continue
        inside = Path(given).iterdir() if os.path.isdir(given) else ()
        for path in [given, *(entry for entry in inside if entry.is_symlink())]:
            if relation := how_they_meet(output, path):
                raise InputError(f"{output} {relation} {path}: name an output apart from it.")


def how_they_meet(output: str | Path, other: str | Path) -> str | None:
    """How an output and another path share files, as a verb; None where they are apart."""
    mine, theirs = identity(output), identity(other)
    if mine is not None and mine == theirs:
        return "is the same as"
    if theirs in folders_above(output):
        return "lies in"
    return "holds" if mine in folders_above(other) else None


Identity = tuple[int, int]  # device and number of a file or folder, by whatever path


def identity(path: str | Path) -> Identity | None:
    """What tells a file or folder from all others; None where there is none at ``path``."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def folders_above(path: str | Path) -> set[Identity]:
    """The existing folders that a path lies in, and where it is a link, those of its target."""
    path = Path(path)
    places = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent), path.name)
    above = {identity(folder) for place in places for folder in place.parents}
    return {folder for folder in above if folder is not None}


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


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal: which weights a number was measured with."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
