"""Write the folder of a list of pairs, as the evaluation reads it.

    source/NAME.png     driving/NAME.*      generated/NAME.*      pairs.json

NAME is that of the pair.  Where one picture drives, all are PNG files; where a clip does, a folder
of PNG frames (exact, for measuring) or an mp4 (for watching).  Source and driving frames are as
the network saw them, in the proportions of the results.  ``pairs.json`` records the settings, what
each result was made of, and what is missing or failed.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.clips import Clip
from datasets.pair_list import FrameRef, Pair, PairList
from media.pictures import Picture, write_picture_whole
from media.provenance import Provenance
from media.writers import open_writer
from utils.errors import InputError
from utils.files import remove_leftovers, write_atomically

Format = Literal["png", "mp4"]

# Adds a driving and a generated frame to the files of a pair, at seconds where the rate varies
WriteFrames = Callable[[Picture, Picture, Fraction | None], None]

RECORD = "pairs.json"


class PairFolder:
    """Folder of results whose files are written whole, generated ones last, to be continued.

    Results of an earlier call are kept where it had the same ``conditions``.
    """

    def __init__(
        self,
        folder: Path,
        conditions: Mapping[str, Any],
        format: Format,
        panels: bool,
        provenance: Provenance | None = None,
    ) -> None:
        """State the ``provenance`` in generated frames.

        Raises InputError where the folder cannot be made or has results of other conditions.
        """
        self.folder, self.format = folder, format
        self.provenance = dict.fromkeys(["generated", "panels"], provenance)
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
        """Tell whether an earlier call had the same conditions."""
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
        """Name the files of a pair by kind; those that end in / are folders of frames."""
        ending = ".png"
        if isinstance(pair.driving, Clip):
            ending = "/" if self.format == "png" else ".mp4"
        return {
            kind: f"{self.folder / kind / pair.name}{'.png' if kind == 'source' else ending}"
            for kind in self.kinds
        }

    def is_done(self, pair: Pair) -> bool:
        """Tell whether an earlier call made all files of a pair."""
        return self.goes_on and all(map(os.path.exists, self.paths(pair).values()))

    def write_still(
        self, pair: Pair, source: Picture, driving: Picture, generated: Picture
    ) -> None:
        """Write the pictures (H, W, 3) of a pair, of one size.  Raises InputError."""
        pictures = self._by_kind(source, driving, generated)
        for kind, path in self.paths(pair).items():
            write_picture_whole(Path(path), pictures[kind], self.provenance.get(kind))

    @contextmanager
    def clip_writer(
        self, pair: Pair, source: Picture, rate: Fraction, audio_from: Path | None
    ) -> Iterator[WriteFrames]:
        """Write the source of a pair and, whole or not at all, the frames given at this rate."""
        paths = self.paths(pair)
        write_picture_whole(Path(paths.pop("source")), source)
        with ExitStack() as stack:  # ends what it began first, generated/, last
            writers = {
                kind: stack.enter_context(
                    open_writer(paths[kind], rate, audio_from, self.provenance.get(kind))
                )
                for kind in reversed(paths)
            }

            def write(driving: Picture, generated: Picture, time: Fraction | None) -> None:
                pictures = self._by_kind(source, driving, generated)
                for kind, writer in writers.items():
                    writer.write(pictures[kind], time)

            yield write

    def _by_kind(self, source: Picture, driving: Picture, generated: Picture) -> dict[str, Picture]:
        """Sort the pictures by kind, with all side by side as "panels" if asked for."""
        pictures = {"source": source, "driving": driving, "generated": generated}
        if "panels" in self.kinds:
            pictures["panels"] = np.hstack(list(pictures.values()))
        return pictures

    def record(
        self, pair_list: PairList, motions: Mapping[str, str], failed: Mapping[str, str] | None
    ) -> None:
        """Write ``pairs.json``; ``failed`` is None before all has been tried."""
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
    """Describe the parts of a pair as text."""
    best_frame = pair.best_frame
    return {
        "source": title(pair.source),
        "driving": title(pair.driving),
        "best_frame": title(best_frame) if isinstance(best_frame, FrameRef) else best_frame,
        "identities": [pair.source.identity, pair.identity],
    }


def title(part: FrameRef | Clip) -> str:
    """Name a clip, or a frame as CLIP/NAME."""
    return part.name if isinstance(part, Clip) else f"{part.clip}/{part.name}"
