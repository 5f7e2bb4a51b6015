"""Still pictures as people with one frame, which augmentation alone sets in motion."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets.clips import clip_name, identity_of
from media.pictures import PICTURE_SUFFIXES, Picture, picture_size, read_image, require_text
from utils.errors import InputError
from utils.files import is_hidden


class Still(NamedTuple):
    """One picture of one person: a clip of one frame."""

    path: Path
    name: str
    identity: str
    num_frames: int = 1

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """The picture, for each number."""
        return [read_image(self.path)] * len(numbers)

    def as_file(self, folder: Path) -> Path:
        """The picture."""
        return self.path


def find_stills(root: Path, unwanted: Collection[str]) -> list[Still]:
    """The pictures in a folder, in the order of their names; ``unwanted`` people are left out.

    Raises InputError where there is none, or one that is no picture.
    """
    if not root.is_dir():
        raise InputError(
            f"The folder of portraits {root} does not exist: set data.stills.root to one that does."
        )
    paths = sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not (is_hidden(path.name) or path.is_dir())
    )
    portraits = []
    for path in paths:
        require_text(path)
        picture_size(path)  # opens it
        name = clip_name(path)
        if identity_of(name) not in unwanted:
            portraits.append(Still(path, name, identity_of(name)))
    if not portraits:
        raise InputError(f"{root} holds no portraits of people outside of the test split.")
    return portraits
