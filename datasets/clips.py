"""Find the clips of a data set, and tell them apart by person.

A clip is a video, a folder of PNG or JPEG frames, or a strip: one picture of square frames side by
side.  The part of its name before the first ``#`` is the person that it shows.  Clips may also lie
in a folder for each person, which becomes part of their names: ``id1/video/0001.mp4`` is
``id1#video#0001``.
"""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from datasets.config import DataConfig
from media.animated import moves
from media.pictures import (
    FRAME_SUFFIXES,
    PICTURE_SUFFIXES,
    Picture,
    picture_size,
    read_image,
    require_text,
)
from media.video import frames_at, probe, read_frames
from utils.errors import InputError
from utils.files import is_hidden

logger = logging.getLogger(__name__)

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

CLIP_VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".gif")
CLIP_SUFFIXES = {*CLIP_VIDEO_SUFFIXES, *FRAME_SUFFIXES}
MAX_DEPTH = 2  # levels of folders above a clip in its split: of a person, and of a video
MAX_UNREADABLE = 0.05  # share of the clips that may be left out


class Clip(NamedTuple):
    """One shot of one person, in a file or folder."""

    path: Path
    name: str
    identity: str
    num_frames: int

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """Read the frames with these numbers."""
        return frames_of(self.path, numbers)

    def as_file(self, folder: Path) -> Path:
        """Return the file or folder of the clip; nothing is written into ``folder``."""
        return self.path


def find_clips(config: DataConfig, split: Split) -> list[Clip]:
    """Find the readable clips of a split, in the order of their names.

    ``root/train`` and ``root/test`` are the splits; where neither exists, the people in ``root``
    are split by ``config.split_seed``.  Raises InputError where there is no clip or more than 5 %
    of them are unreadable; fewer are left out and named in the log.
    """
    clips, unreadable = survey_clips(config, split)
    for error in unreadable.values():
        logger.warning("Clip left out: %s", error)
    num_clips = len(clips) + len(unreadable)
    if len(unreadable) > MAX_UNREADABLE * num_clips:
        raise InputError(
            f"{len(unreadable)} of the {num_clips} clips in {config.root} are unreadable, more "
            f"than {MAX_UNREADABLE:.0%}; the first: {next(iter(unreadable.values()))}"
        )
    return clips


def survey_clips(config: DataConfig, split: Split) -> tuple[list[Clip], dict[str, str]]:
    """Open the clips of a split: the readable ones, and the errors of the others by name."""
    folder, paths = split_paths(config, split)
    with ThreadPoolExecutor() as pool:
        opened = list(pool.map(partial(try_open, folder=folder), paths))
    unreadable = {
        str(path.relative_to(folder)): str(found)
        for path, found in zip(paths, opened, strict=True)
        if isinstance(found, InputError)
    }
    return [found for found in opened if isinstance(found, Clip)], unreadable


def split_paths(config: DataConfig, split: Split) -> tuple[Path, list[Path]]:
    """Return the folder of a split, and the paths of possible clips in it, in order."""
    root = config.folder
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist: set data.root to one that does.")
    folders = split_folders(root)
    folder = folders.get(split, folders.get(None))
    if folder is None:
        raise InputError(f"{root} has no folder {split} beside the other: add {root / split}.")
    paths = clip_paths(folder)
    if None in folders:
        shown = {path: identity_of(clip_name(path, folder)) for path in paths}
        people = people_in_split(split, shown.values(), config)
        paths = [path for path in paths if shown[path] in people]
    if not paths:
        raise InputError(
            f"{folder} holds no clips: it needs folders train and test, or videos "
            f"({' '.join(CLIP_VIDEO_SUFFIXES)}), folders of frames, or strips of frames; a stream "
            "needs data.source=stream."
        )
    return folder, paths


def require_own_names(clips: Sequence[Clip]) -> None:
    """Raise InputError where two clips have one name: results and lists know them by it."""
    (name, uses), *_ = Counter(clip.name for clip in clips).most_common(1) or [("", 0)]
    if uses > 1:
        raise InputError(f"{uses} clips are called {name}: give each a name of its own.")


def open_clip(path: Path, folder: Path | None = None) -> Clip:
    """Open a video, a folder of frames, or a strip as a clip.  Raises InputError for other files.

    ``folder`` is the folder of the split, from which the names of folders above the clip count.
    """
    num_frames = _num_strip_frames(path) if is_strip(path) else probe(path).num_frames
    name = clip_name(path, folder)
    return Clip(path, name, identity_of(name), num_frames)


def try_open(path: Path, folder: Path | None = None) -> Clip | InputError:
    """Open a clip as ``open_clip`` does, or return the error."""
    try:
        return open_clip(path, folder)
    except InputError as error:
        return error


def iterate_frames(path: Path) -> Iterator[Picture]:
    """Read the frames of a clip, or one picture that is no clip, in order and one at a time."""
    if holds_strip(path):
        yield from frames_of(path, range(_num_strip_frames(path)))
    else:
        yield from (frame.image for frame in read_frames(path))


def frames_of(path: Path, indices: Sequence[int]) -> list[Picture]:
    """Read the frames with these numbers from a video, a folder of frames, or a strip."""
    if not is_strip(path):
        return frames_at(path, indices)
    return strip_frames(read_image(path), indices)


def strip_frames(strip: Picture, indices: Sequence[int]) -> list[Picture]:
    """Cut the frames with these numbers out of a strip."""
    side = len(strip)
    return [strip[:, index * side : (index + 1) * side] for index in indices]


def split_folders(root: Path) -> dict[Split | None, Path]:
    """Return the folders of clips by split; ``{None: root}`` where no split has a folder.

    Raises InputError where ``root`` is no folder.
    """
    if not root.is_dir():
        raise InputError(f"The data folder {root} does not exist: name one that does.")
    folders: dict[Split | None, Path] = {
        split: root / split for split in SPLITS if (root / split).is_dir()
    }
    return folders or {None: root}


def clip_paths(folder: Path) -> list[Path]:
    """Find possible clips in a folder, in order.  Raises InputError for names that are no text."""
    paths = possible_clips(folder)
    for path in paths:
        for part in (path, *path.relative_to(folder).parents[:-1]):
            require_text(part)
    return paths


def possible_clips(
    folder: Path, suffixes: Collection[str] = CLIP_SUFFIXES, depth: int = MAX_DEPTH
) -> list[Path]:
    """Find possible clips of any name, files with these endings and folders, in order.

    They lie up to ``depth`` folders down.
    """
    paths: list[Path] = []
    for path in sorted(folder.iterdir()):
        if is_hidden(path.name):
            continue
        if not path.is_dir():
            paths += [path] if path.suffix.lower() in suffixes else []
        elif depth == 0 or _holds_frames(path):
            paths.append(path)
        else:
            paths += possible_clips(path, suffixes, depth - 1) or [path]
    return paths


def _holds_frames(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(
            os.path.splitext(entry.name)[1].lower() in FRAME_SUFFIXES and not is_hidden(entry.name)
            for entry in entries
        )


def people_in_split(split: Split, identities: Iterable[str], config: DataConfig) -> set[str]:
    """Draw the people of a split among those of an undivided root; each split gets one or more."""
    people = sorted(set(identities))
    if len(people) == 1:
        raise InputError(
            f"{config.root} shows one person only ({people[0]}): for a split into train and test "
            "name clips person#clip, of two people or more, or make folders train and test."
        )
    num_test = min(max(round(config.test_share * len(people)), 1), len(people) - 1)
    order = np.random.default_rng(config.split_seed).permutation(len(people))
    test = {people[index] for index in order[:num_test]}
    return test if split == "test" else set(people) - test


def clip_name(path: Path, folder: Path | None = None) -> str:
    """Return the name of a clip: its file name without ending, after the folders in ``folder``."""
    return with_person(path.name if path.is_dir() else path.stem, path, folder)


def with_person(name: str, path: Path, folder: Path | None) -> str:
    """Put the names of the folders between ``folder`` and the clip at ``path`` before its name.

    The first of them is the person; a name that begins with the same person stays.
    """
    above = () if folder is None else path.parent.relative_to(folder).parts
    return name if not above or identity_of(name) == above[0] else "#".join([*above, name])


def without_suffix(name: str) -> str:
    """Return a file name without the ending of a clip or picture; other dots stay."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in CLIP_SUFFIXES | PICTURE_SUFFIXES else name


def identity_of(name: str) -> str:
    """Return the person that a clip of this name shows."""
    return name.partition("#")[0]


def is_strip(path: Path) -> bool:
    """Whether a clip is a strip: a still picture, which holds its frames side by side."""
    return path.suffix.lower() in FRAME_SUFFIXES and not path.is_dir() and not moves(path)


def holds_strip(path: Path) -> bool:
    """Whether a picture file is a strip of square frames rather than a single picture."""
    if not is_strip(path):
        return False
    height, width = picture_size(path)
    return width > height and width % height == 0


@cache
def frame_size(path: Path) -> tuple[int, int]:
    """Return the height and width of the frames of a clip, or of a picture that is no clip."""
    if holds_strip(path):
        side, _ = picture_size(path)
        return side, side
    return probe(path).size


def _num_strip_frames(path: Path) -> int:
    height, width = picture_size(path)
    if width % height or width == height:
        raise InputError(
            f"{path} is no strip of square frames: it is {width} pixels wide and {height} high."
        )
    return width // height
