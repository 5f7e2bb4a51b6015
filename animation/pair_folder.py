"""The folder that a list of pairs is animated into, as the evaluation reads it.

    source/NAME.png     driving/NAME.*      generated/NAME.*      pairs.json

NAME is that of the pair.  Where one picture drives, all are PNG files; where a clip does, a folder
of PNG frames (exact, for measuring) or an mp4 (for watching).  Source and driving frames are as
the network saw them, in the proportions of the results.  ``pairs.json`` says what was made of what
and how, and what could not be.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from PIL import Image

from datasets.clips import Clip
from datasets.pair_list import FrameRef, Pair, PairList
from media.pictures import Picture
from media.writers import open_writer
from utils.errors import InputError
from utils.files import remove_leftovers, temporary_path, write_atomically

Format = Literal["png", "mp4"]

RECORD = "pairs.json"


class WriteFrame(Protocol):
    """Adds a frame to the files of a pair; ``time`` (seconds) where the rate varies."""

    def __call__(self, driving: Picture, generated: Picture, time: Fraction | None) -> None: ...


class PairFolder:
    """Writes the files of each pair whole, those generated last, so that a list can be continued.

    What an earlier call left is kept where it was made under the same ``conditions``.
    """

    def __init__(
        self, folder: Path, conditions: Mapping[str, Any], format: Format, panels: bool
    ) -> None:
        """Raises InputError for a folder that cannot be made or has results of other conditions."""
        self.folder, self.format = folder, format
        self.kinds = ["source", "driving", *(["panels"] if panels else []), "generated"]
        self.conditions = {**conditions, "format": format, "panels": panels}
        self.goes_on = self._goes_on()
        try:
            for kind in self.kinds:
                (folder / kind).mkdir(parents=True, exist_ok=True)
                remove_leftovers(folder / kind)
        except OSError as error:
            raise InputError(f"{folder} cannot be made a folder: {error.strerror}.") from error

    def _goes_on(self) -> bool:
        """Whether an earlier call began the same."""
        try:
            record = json.loads((self.folder / RECORD).read_text())
            earlier = dict(record["conditions"])
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.folder / RECORD} is no record of pairs: name another folder."
            ) from error
        now = json.loads(json.dumps(self.conditions))
        if differing := [name for name in now if earlier.get(name) != now[name]]:
            raise InputError(
                f"{self.folder} holds results of another {' and '.join(differing)}: name another "
                "folder, or remove it."
            )
        return True

    def paths(self, pair: Pair) -> dict[str, str]:
        """The files of a pair by kind; those that end in / are folders of frames."""
        ending = ".png"
        if isinstance(pair.driving, Clip):
            ending = "/" if self.format == "png" else ".mp4"
        return {
            kind: f"{self.folder / kind / pair.name}{'.png' if kind == 'source' else ending}"
            for kind in self.kinds
        }

    def is_done(self, pair: Pair) -> bool:
        """Whether an earlier call made all files of a pair."""
        return self.goes_on and all(map(os.path.exists, self.paths(pair).values()))

    def write_still(
        self, pair: Pair, source: Picture, driving: Picture, generated: Picture
    ) -> None:
        """Writes the pictures of a pair, of one size.  Raises InputError."""
        pictures = self._by_kind(source, driving, generated)
        for kind, path in self.paths(pair).items():
            write_picture(Path(path), pictures[kind])

    @contextmanager
    def clip_writer(
        self, pair: Pair, source: Picture, rate: Fraction, audio_from: Path | None
    ) -> Iterator[WriteFrame]:
        """Writes the source of a pair and, whole or not at all, the frames that are given."""
        paths = self.paths(pair)
        write_picture(Path(paths.pop("source")), source)
        with ExitStack() as stack:  # which ends what it began first, generated/, last
            writers = {
                kind: stack.enter_context(open_writer(paths[kind], rate, audio_from))
                for kind in reversed(paths)
            }

            def write(driving: Picture, generated: Picture, time: Fraction | None) -> None:
                pictures = self._by_kind(source, driving, generated)
                for kind, writer in writers.items():
                    writer.write(pictures[kind], time)

            yield write

    def _by_kind(self, source: Picture, driving: Picture, generated: Picture) -> dict[str, Picture]:
        """The pictures by kind, "panels" among them if they are wanted: all side by side."""
        pictures = {"source": source, "driving": driving, "generated": generated}
        if "panels" in self.kinds:
            pictures["panels"] = np.hstack(list(pictures.values()))
        return pictures

    def record(
        self, pair_list: PairList, motions: Mapping[str, str], failed: Mapping[str, str] | None
    ) -> None:
        """Writes ``pairs.json``; ``failed`` is None before all has been tried."""
        described = {
            "finished": failed is not None,
            "conditions": self.conditions,
            "list": str(pair_list.path),
            "rows": pair_list.num_rows,
            "duplicates": pair_list.num_duplicates,
            "missing": pair_list.missing,
            "failed": dict(failed or {}),
            "pairs": {
                pair.name: {**describe(pair), "motion": motions[pair.name]}
                for pair in pair_list.pairs
            },
        }
        write_atomically(self.folder / RECORD, json.dumps(described, indent=1) + "\n")


def describe(pair: Pair) -> dict[str, Any]:
    """What a pair is made of, as text."""
    best_frame = pair.best_frame
    return {
        "source": title(pair.source),
        "driving": title(pair.driving),
        "best_frame": title(best_frame) if isinstance(best_frame, FrameRef) else best_frame,
        "identities": [pair.source.identity, pair.identity],
    }


def title(part: FrameRef | Clip) -> str:
    return part.name if isinstance(part, Clip) else f"{part.clip}/{part.name}"


def write_picture(path: Path, picture: Picture) -> None:
    """Writes a PNG, whole.  Raises InputError where that fails."""
    temporary = temporary_path(path)
    try:
        Image.fromarray(picture).save(temporary, format="PNG")
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
