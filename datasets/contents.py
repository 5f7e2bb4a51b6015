"""What lies in the root of a data set: clips, their records, and what killed runs left behind."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.clips import possible_clips, with_person
from datasets.pair_list import without_ending
from utils.errors import InputError
from utils.files import printable

SPLITS = ("train", "test")
# What is being written, until it is whole: a run's folder of clips, and single files and folders
TEMPORARY = re.compile(r"\.work(-\d+-of-\d+)?|\..+\.(\d+|new)")


class Contents(NamedTuple):
    """The files and folders of a root, in the order of their names."""

    root: Path
    clips: dict[str, list[Path]]  # by split; under "" where the root is not split
    records: list[Path]  # of clips, or of what once were
    leftovers: list[Path]  # temporary files and folders

    def label(self, path: Path) -> str:
        """A path in the root as reports show it: "train/NAME.mp4"."""
        return printable(str(path.relative_to(self.root)))

    @property
    def all_clips(self) -> list[Path]:
        return [path for paths in self.clips.values() for path in paths]

    def name(self, path: Path) -> str:
        """The name of a clip, by which lists know it: without an ending, even of a folder."""
        folders = [self.root / split for split in self.clips]
        folder = next(folder for folder in folders if path.is_relative_to(folder))
        return with_person(without_ending(path.name), path, folder)

    def require_clips(self) -> None:
        """Raises InputError where there are none."""
        if not self.all_clips:
            raise InputError(
                f"{self.root} holds no clips: it needs some, or folders train and test of them."
            )


def read_contents(root: Path) -> Contents:
    """What lies in ``root``; nothing is opened.  Raises InputError where it is no folder."""
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist: name one that does.")
    splits = [split for split in SPLITS if (root / split).is_dir()] or [""]
    folders = [root, *(root / split for split in splits if split)]
    entries = {folder: sorted(folder.iterdir()) for folder in folders}
    clips = {split: possible_clips(root / split) for split in splits}
    return Contents(
        root,
        clips,
        records=[
            path for split in splits for path in entries[root / split] if path.suffix == ".json"
        ],
        leftovers=temporary([path for folder in folders for path in entries[folder]]),
    )


def temporary(paths: Sequence[Path]) -> list[Path]:
    """Those of ``paths`` that are named as something that is being written."""
    return [path for path in paths if TEMPORARY.fullmatch(path.name)]


def without_path(error: InputError, path: Path) -> str:
    """What an error says about a file whose name stands beside it."""
    return str(error).removeprefix(f"{path} ").replace(f"{path}/", "")
