"""What has been measured so far: one folder for each finished unit, so that nothing is done twice.

All processes of an evaluation write below one folder.  A part is there whole or not at all, and
the parts are merged in the order of the units, whoever measured them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from datasets.pictures import Picture, read_image
from evaluation.frame_table import FrameTable, joined, read_frames, write_frames
from evaluation.report import Example
from modules.errors import InputError
from modules.files import write_text_whole, written_whole

SETTINGS = "settings.json"

Features = tuple[np.ndarray, np.ndarray]  # of the real and the generated frames, (N, D) each


class Part(NamedTuple):
    """What a unit came to."""

    table: FrameTable
    features: Features | None
    dropped: dict[str, str]  # name of a frame, or of all -> reason
    examples: list[Example]
    seconds: float


class Parts:
    """The parts below a folder, numbered as their units."""

    def __init__(self, folder: Path, num_units: int) -> None:
        self.folder, self.num_units = folder, num_units

    def begin(self, settings: dict[str, Any]) -> None:
        """Makes the folder that of an evaluation with these settings.

        Raises InputError where it holds parts of one with others.
        """
        path = self.folder / SETTINGS
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            found = json.loads(path.read_text()) if path.exists() else settings
        except OSError as error:
            raise InputError(f"{self.folder} cannot be made: {error.strerror}.") from error
        except ValueError as error:
            raise InputError(f"{path} is damaged: delete {self.folder}.") from error
        for key in sorted(found.keys() | settings.keys()):
            if found.get(key) != settings.get(key):
                raise InputError(
                    f"{self.folder.parent} holds an evaluation with another {key} "
                    f"({found.get(key)}, now {settings.get(key)}): name another --output."
                )
        write_text_whole(path, json.dumps(settings, indent=1))

    def path(self, number: int) -> Path:
        return self.folder / f"{number:06d}"

    def has(self, number: int) -> bool:
        return self.path(number).is_dir()

    def write(self, number: int, part: Part) -> None:
        """The part of unit ``number``, all of it or nothing."""
        facts = {
            "dropped": part.dropped,
            "seconds": part.seconds,
            "examples": [[example.clip, example.frame, example.value] for example in part.examples],
        }
        try:
            with written_whole(self.path(number)) as folder:
                write_frames(folder / "frames.csv", part.table)
                (folder / "part.json").write_text(json.dumps(facts))
                if part.features is not None:
                    real, generated = part.features
                    np.savez(folder / "features.npz", real=real, generated=generated)
                for index, example in enumerate(part.examples):
                    for name in ("source", "real", "generated"):
                        picture = getattr(example, name)
                        if picture is not None:
                            Image.fromarray(picture).save(folder / f"example-{index}-{name}.png")
        except OSError as error:
            raise InputError(f"{self.path(number)} cannot be written: {error.strerror}.") from error

    def table(self) -> FrameTable:
        """The rows of all parts."""
        return joined([read_frames(self.path(n) / "frames.csv") for n in range(self.num_units)])

    def dropped(self) -> dict[str, str]:
        """What was dropped in all parts."""
        return {name: why for facts in self.facts() for name, why in facts["dropped"].items()}

    def seconds(self) -> float:
        """The time that all parts took."""
        return sum(facts["seconds"] for facts in self.facts())

    def features(self) -> Iterator[Features]:
        """The features of all parts, one after the other."""
        for number in range(self.num_units):
            path = self.path(number) / "features.npz"
            if path.exists():
                with np.load(path) as arrays:
                    yield arrays["real"], arrays["generated"]

    def examples(self, count: int, largest: bool) -> list[Example]:
        """The ``count`` examples of the largest, or the smallest, value in order."""
        found = [
            (value, number, index, clip, frame)
            for number, facts in enumerate(self.facts())
            for index, (clip, frame, value) in enumerate(facts["examples"])
        ]
        chosen = sorted(found, key=lambda item: -item[0] if largest else item[0])[:count]
        return [
            Example(clip, frame, value, *self.pictures(number, index))
            for value, number, index, clip, frame in chosen
        ]

    def pictures(self, number: int, index: int) -> tuple[Picture | None, Picture, Picture]:
        """Source, real and generated picture of an example."""
        source, real, generated = (
            self.path(number) / f"example-{index}-{name}.png"
            for name in ("source", "real", "generated")
        )
        shown = read_image(source) if source.exists() else None
        return shown, read_image(real), read_image(generated)

    def facts(self) -> Iterator[dict[str, Any]]:
        for number in range(self.num_units):
            yield json.loads((self.path(number) / "part.json").read_text())
