"""List the files in the root of a data set: clips, their records, and temporary files."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.clips import possible_clips, split_folders, with_person, without_suffix
from utils.errors import InputError
from utils.files import printable

# Folder of unfinished clips of a run, and temporary names of files and folders
TEMPORARY = re.compile(r"\.work(-\d+-of-\d+)?|\..+\.(\d+|new)")


class Contents(NamedTuple):
    """Files and folders of a root, in the order of their names."""

    root: Path
    clips: dict[str, list[Path]]  # by split; under "" where the root is not split
    records: list[Path]  # JSON files beside the clips
    leftovers: list[Path]  # temporary files and folders

    @property
    def all_clips(self) -> list[Path]:
        return [path for paths in self.clips.values() for path in paths]

    def label(self, path: Path) -> str:
        """Return a path in the root as reports show it: "train/NAME.mp4"."""
        return printable(str(path.relative_to(self.root)))

    def name(self, path: Path) -> str:
        """Return the name of a clip in lists: without an ending, even of a folder."""
        folders = [self.root / split for split in self.clips]
        folder = next(folder for folder in folders if path.is_relative_to(folder))
        return with_person(without_suffix(path.name), path, folder)


def read_contents(root: Path, *, may_be_empty: bool = False) -> Contents:
    """List the files of a root, without opening them.

    Raises InputError where ``root`` is no folder or holds no clips.
    """
    folders = split_folders(root)
    clips: dict[str, list[Path]] = {
        split or "": possible_clips(folder) for split, folder in folders.items()
    }
    if not (may_be_empty or any(clips.values())):
        raise InputError(
            f"{root} holds no clips: it needs some, or folders train and test of them."
        )
    found = [clip for own in clips.values() for clip in own]
    of_people = {path for clip in found for path in clip.parents if root in path.parents}
    beside = [path for folder in {*folders.values(), *of_people} for path in folder.iterdir()]
    at_root = [] if root in folders.values() else root.iterdir()
    return Contents(
        root,
        clips,
        records=sorted(path for path in beside if path.suffix == ".json"),
        leftovers=temporary_files(sorted([*at_root, *beside])),
    )


def temporary_files(paths: Sequence[Path]) -> list[Path]:
    """Select the paths that have the name of an unfinished file or folder."""
    return [path for path in paths if TEMPORARY.fullmatch(path.name)]


def without_path(error: Exception, path: Path) -> str:
    """Return the message of an error without the path that is shown beside it."""
    return str(error).removeprefix(f"{path} ").replace(f"{path}/", "")
