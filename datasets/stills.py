"""Still pictures as clips of one frame, which only augmentation sets in motion."""

from collections.abc import Collection, Sequence
from pathlib import Path

from datasets.clips import Clip, clip_name, identity_of
from media.pictures import PICTURE_SUFFIXES, Picture, picture_size, read_image, require_text
from utils.errors import InputError
from utils.files import is_hidden


class Still(Clip):
    """One picture of one person: a clip of one frame."""

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """Return the picture once for each number."""
        return [read_image(self.path)] * len(numbers)


def find_stills(root: Path, excluded: Collection[str]) -> list[Still]:
    """Find the pictures in a folder, in the order of their names, without ``excluded`` people.

    Raises InputError where there is none, or where one cannot be read.
    """
    if not root.is_dir():
        raise InputError(
            f"The folder of stills {root} does not exist: set data.stills.root to one that does."
        )
    stills = []
    for path in sorted(root.iterdir()):
        if path.suffix.lower() not in PICTURE_SUFFIXES or is_hidden(path.name) or path.is_dir():
            continue
        require_text(path)
        picture_size(path)  # opens it
        name = clip_name(path)
        if identity_of(name) not in excluded:
            stills.append(Still(path, name, identity_of(name), 1))
    if not stills:
        raise InputError(f"{root} holds no stills of people outside of the test split.")
    return stills
