"""Write files and folders atomically, and keep outputs apart from inputs.

A file or folder is written under a hidden temporary name and renamed when it is complete, so that
a process that is killed at any moment leaves either all of it at its place or nothing.
"""

import glob
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from psutil import pid_exists

from utils.errors import InputError, OutputError

# Names, in lower case, that operating systems and storage devices leave among the user's files
SYSTEM_FILES = {
    "__macosx",
    ".ds_store",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "@eadir",
    "#recycle",
    "#snapshot",
}


def is_system_file(name: str) -> bool:
    """Whether a file or folder of this name was left by an operating system or storage device."""
    return name.lower() in SYSTEM_FILES or name.startswith("._")


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no data: it is hidden, or left by a system."""
    return name.startswith(".") or is_system_file(name)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it takes the place of ``path`` when the block ends.

    A symbolic link stays, and its target is replaced.  Where the block fails, ``path`` is as it
    was before, and the temporary file is deleted.
    """
    place = link_target(path)
    temporary = temporary_path(place)
    try:
        yield temporary
        os.replace(temporary, place)
    finally:
        remove(temporary)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it is flushed and renamed to ``folder`` at the end.

    ``folder`` must be absent or empty, or a symbolic link to such a one.  Where the block fails,
    the temporary folder is deleted: it would fill a full disk.
    """
    folder = link_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder.parent, glob.escape(folder.name))
    temporary = temporary_path(folder)
    try:
        temporary.mkdir()
        yield temporary
        for path in [*temporary.iterdir(), temporary]:
            flush(path)
        temporary.rename(folder)
        flush(folder.parent)
    finally:
        remove(temporary)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a small file, all of it or nothing.  Raises OutputError where that fails.

    Text is written in UTF-8; bytes of a path that are not UTF-8 are written as their numbers.
    """
    if not path.name:
        raise InputError(f"{path} does not name a file: add a name.")
    if isinstance(content, str):
        content = content.encode("utf-8", errors="backslashreplace")
    with naming_errors(path), atomic_file(path) as temporary:
        temporary.write_bytes(content)


def require_writable(path: Path) -> None:
    """Raise OutputError where no file can be written, before the work that ends with the file."""
    if link_target(path).is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder; choose another name.")
    require_folder_of(path)


def require_folder_of(path: Path) -> None:
    """Raise OutputError where nothing can be written into the folder of a file or folder."""
    place = link_target(path)
    if not place.parent.is_dir():
        raise OutputError(f"{path} cannot be written: create the folder {place.parent} first.")
    if not os.access(place.parent, os.W_OK):
        raise OutputError(f"{path} cannot be written: its folder is read-only.")


def require_folder(folder: Path) -> None:
    """Raise OutputError where no folder can be made or written into, before the work."""
    place = link_target(folder).absolute()
    existing = next(path for path in (place, *place.parents) if path.exists())
    if not existing.is_dir():
        raise OutputError(
            f"{folder} cannot be a folder: {existing} is a file; choose another name."
        )
    if not os.access(existing, os.W_OK):
        raise OutputError(f"{folder} cannot be written: {existing} is read-only.")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents where they are missing.  Raises OutputError."""
    with naming_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def naming_errors(place: str | Path) -> Iterator[None]:
    """Turn an OSError within the block into an OutputError: ``place`` cannot be written."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror or error}.") from error


def link_target(path: Path) -> Path:
    """Return the target of a symbolic link, and any other path unchanged."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def temporary_path(path: Path) -> Path:
    """Return the name under which this process makes ``path``: hidden, with the process id."""
    return path.with_name(f".{path.name}.{os.getpid()}")


def remove_leftovers(folder: Path, name: str = "*") -> None:
    """Delete the temporary files of ``name`` (a glob pattern) that killed processes left.

    This process must be writing nothing there: its id may have been that of a killed one.
    """
    for path in folder.glob(f".{name}.*"):
        number = path.name.rpartition(".")[2]
        if number.isdecimal() and (int(number) == os.getpid() or not pid_exists(int(number))):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file or folder where it exists and can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def require_apart(output: str | Path, *inputs: str | Path | None) -> None:
    """Refuse an output that is, contains or lies in an input, also through links.

    A folder of links counts as the folders that its links lead to.  Raises InputError.
    """
    for given in inputs:
        if given is None:
            continue
        inside = Path(given).iterdir() if os.path.isdir(given) else ()
        for path in [given, *(entry for entry in inside if entry.is_symlink())]:
            if relation := path_relation(output, path):
                raise InputError(f"{output} {relation} {path}: name an output apart from it.")


def path_relation(output: str | Path, other: str | Path) -> str | None:
    """Return how an output and another path share files, as a verb; None where they do not."""
    output_id, other_id = file_id(output), file_id(other)
    if output_id is not None and output_id == other_id:
        return "is the same as"
    if other_id in folders_above(output):
        return "lies in"
    return "holds" if output_id in folders_above(other) else None


FileId = tuple[int, int]  # device and inode


def file_id(path: str | Path) -> FileId | None:
    """Return the device and inode of a file or folder; None where ``path`` does not exist."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def folders_above(path: str | Path) -> set[FileId]:
    """Return the existing folders that a path lies in, and those of the target of a link."""
    path = Path(path)
    places = Path(os.path.realpath(path)), Path(os.path.realpath(path.parent), path.name)
    above = {file_id(folder) for place in places for folder in place.parents}
    return {folder for folder in above if folder is not None}


def printable(text: str) -> str:
    """Return a name on one line, with invisible characters and invalid UTF-8 as escapes."""
    text = text.encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fingerprint(paths: Iterable[Path]) -> str:
    """Hash the names, sizes and modification times of files, and of the files in folders."""
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
    """Return the SHA-256 of a file in hexadecimal, which says which weights gave a number."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
