"""Results of finished units, a folder each, so that an interrupted evaluation goes on.

All processes of an evaluation write below one folder.  A part is there whole or not at all, and
the parts are merged in the order of the units, whoever measured them.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from evaluation.results.frame_table import read_frame_table, write_frame_table
from utils.errors import InputError
from utils.files import atomic_folder, write_atomically
from utils.locks import sole_writer

T = TypeVar("T")

SETTINGS = "settings.json"
LOCK = "lock"  # held by the evaluation that writes
SHOWN = 60  # letters of a setting that are shown

Features = tuple[np.ndarray, np.ndarray]  # of the real and the generated frames, (N, D) each


class UnitResult(NamedTuple):
    """Results of one unit."""

    table: pd.DataFrame  # its frames
    features: Features | None
    dropped: dict[str, str]  # name of a frame, or of all -> reason
    seconds: float


class PartialResults:
    """Parts below a folder, numbered as their units."""

    def __init__(self, folder: Path, num_units: int) -> None:
        self.folder, self.num_units = folder, num_units

    @contextmanager
    def locked(self, settings: dict[str, Any]) -> Iterator[None]:
        """Reserve the folder for this process and for an evaluation with these settings.

        Raises InputError where it holds parts of one with others, or another is at work in it.
        """
        busy = (
            f"Another evaluation is at work in {self.folder.parent}: wait for its end, or name "
            "another --output."
        )
        with sole_writer(self.folder / LOCK, busy=busy):
            self.keep_settings(settings)
            yield

    def keep_settings(self, settings: dict[str, Any]) -> None:
        """Write the settings, or raise InputError where others are written already."""
        path = self.folder / SETTINGS
        try:
            found = dict(json.loads(path.read_text())) if path.exists() else settings
        except (ValueError, TypeError) as error:
            raise InputError(f"{path} is damaged: delete {self.folder}.") from error
        for key in sorted(found.keys() | settings.keys()):
            if found.get(key) != settings.get(key):
                values = [str(each.get(key)) for each in (found, settings)]
                short = all(len(value) <= SHOWN for value in values)
                raise InputError(
                    f"{self.folder.parent} holds an evaluation with another {key}"
                    + (f" ({values[0]}, now {values[1]})" if short else "")
                    + ": name another --output, or delete the folder."
                )
        write_atomically(path, json.dumps(settings, indent=1))

    def path(self, number: int) -> Path:
        """Name the folder of a part."""
        return self.folder / f"{number:06d}"

    def has(self, number: int) -> bool:
        """Tell whether unit ``number`` is finished."""
        return self.path(number).is_dir()

    def write(self, number: int, part: UnitResult) -> None:
        """Write the part of unit ``number``, all of it or nothing."""
        info = {"dropped": part.dropped, "seconds": part.seconds}
        try:
            with atomic_folder(self.path(number)) as folder:
                write_frame_table(folder / "frames.csv", part.table)
                (folder / "part.json").write_text(json.dumps(info))
                if part.features is not None:
                    real, generated = part.features
                    np.savez(folder / "features.npz", real=real, generated=generated)
        except OSError as error:
            raise InputError(f"{self.path(number)} cannot be written: {error.strerror}.") from error

    def tables(self) -> list[pd.DataFrame]:
        """Read the frames of every part."""
        return list(self.each(lambda part: read_frame_table(part / "frames.csv")))

    def dropped(self) -> dict[str, str]:
        """Collect the names that were dropped in all parts, with reasons."""
        infos = self.each(lambda part: dict(read_info(part)["dropped"]))
        return {name: why for dropped in infos for name, why in dropped.items()}

    def seconds(self) -> float:
        """Add up the time that all parts took."""
        return sum(self.each(lambda part: float(read_info(part)["seconds"])))

    def features(self) -> Iterator[Features]:
        """Yield the features of each part that has any."""
        return (features for features in self.each(read_features) if features is not None)

    def each(self, read: Callable[[Path], T]) -> Iterator[T]:
        """Apply ``read`` to the folder of every part; InputError where a part is damaged."""
        for folder in map(self.path, range(self.num_units)):
            try:
                yield read(folder)
            except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile) as error:
                raise InputError(f"{folder} is damaged: delete it, and run this again.") from error


def read_info(part: Path) -> dict[str, Any]:
    """Read the ``part.json`` of a part."""
    info: dict[str, Any] = json.loads((part / "part.json").read_text())
    return info


def read_features(part: Path) -> Features | None:
    """Read the features (N, D) of real and generated frames of a part, if it has any."""
    path = part / "features.npz"
    if not path.exists():
        return None
    with np.load(path) as arrays:
        return arrays["real"], arrays["generated"]
