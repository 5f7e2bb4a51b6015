"""Find the frames and clips that lists of pairs name, also published lists.

A published list names a frame ``/data/xyz/vox/test/CLIP/0000012.png``, with folders of another
machine before it.  Here that may be a file in a folder CLIP, or frame 12 of the video CLIP.mp4.
"""

import os
import re
from collections.abc import Collection, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from datasets.clips import (
    CLIP_SUFFIXES,
    CLIP_VIDEO_SUFFIXES,
    SPLITS,
    Clip,
    clip_name,
    frames_of,
    identity_of,
    possible_clips,
    split_folders,
    try_open,
    with_person,
    without_suffix,
)
from media.animated import moves
from media.pictures import FRAME_SUFFIXES, PICTURE_SUFFIXES, Picture, frame_paths, read_image
from utils.errors import InputError
from utils.wording import counted

CELEBV_FOLDER = "Image"  # CelebV keeps the frames of NAME in NAME/Image
# A published list has CLIP.mp4000291.jpg where CLIP.mp4/000291.jpg is meant
WITHOUT_SEPARATOR = re.compile(
    rf"(.+(?:{'|'.join(map(re.escape, CLIP_VIDEO_SUFFIXES))}))([0-9]+\.[a-z]+)", re.IGNORECASE
)
FRAME_NAME = re.compile(r"(?:frame|image|img)?[-_]?([0-9]{1,18})", re.IGNORECASE)


class FrameRef(NamedTuple):
    """Reference to one picture: a file, or a frame of a video or strip."""

    clip: str
    name: str  # of the frame within the clip, "0000012"
    path: Path
    number: int | None  # in the video or strip; None where ``path`` is the picture

    @property
    def identity(self) -> str:
        return identity_of(self.clip)

    def read(self) -> Picture:
        """Read the picture, RGB uint8 (H, W, 3).  Raises InputError where it is unreadable."""
        return read_refs([self])[0]


def read_refs(refs: Sequence[FrameRef]) -> list[Picture]:
    """Read the pictures of references; each file is opened once."""
    numbers: dict[Path, dict[int, None]] = {}
    for ref in refs:
        if ref.number is not None:
            numbers.setdefault(ref.path, {})[ref.number] = None
    pictures: dict[tuple[Path, int | None], Picture] = {
        (path, number): picture
        for path, wanted in numbers.items()
        for number, picture in zip(wanted, frames_of(path, list(wanted)), strict=True)
    }
    files = {ref.path for ref in refs if ref.number is None}
    pictures |= {(path, None): read_image(path) for path in files}
    return [pictures[ref.path, ref.number] for ref in refs]


class FrameFinder:
    """Search for files under a data root, in its splits ``test`` and ``train``, or beside a list.

    The contents of folders are remembered: a list of thousands of rows reads each folder once.
    """

    def __init__(self, root: Path | None, beside: Path) -> None:
        """Search under ``root`` and in the folder ``beside`` the list.  Raises InputError."""
        if root is not None and not root.is_dir():
            raise InputError(f"The data root {root} is no folder: give the one with the clips.")
        self.root = root
        self.roots = [] if root is None else [*(root / split for split in reversed(SPLITS)), root]
        self.folders = {} if root is None else split_folders(root)
        self.elsewhere = [beside, Path()]
        self._exists = cache(os.path.exists)
        self._frames_in = cache(_frames_in)
        self._clips_in = cache(partial(_clips_in, of_people=self.folders.values()))
        self._opened = cache(try_open)

    def find(self, text: str) -> FrameRef | Clip:
        """Find the picture or the whole clip that ``text`` names.

        The longest end of the path that exists under the root or a split counts; otherwise the
        path is relative to the list's folder or to the working directory.  Raises InputError where
        nothing is found, and for a frame beyond the end of its video.
        """
        parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts:
            raise InputError("The cell is empty.")
        for base, end in self._places(text, parts):
            if (found := self._at(base, end)) is not None:
                return found
        if joined := WITHOUT_SEPARATOR.fullmatch(text):
            return self.find("/".join(joined.groups()))
        places = "beside the list or in the working directory"
        if self.root is None:
            raise InputError(f"{text} is not {places}: name the folder of the clips by --root.")
        raise InputError(f"{text} is not under {self.root}, {places}.")

    def first_frame(self, clip: Clip) -> FrameRef:
        if clip.path.is_dir():
            return self._picture(frame_paths(clip.path)[0], clip.path)
        return self._numbered(clip.path, 0)

    def frame(self, clip_file: Path, number: int) -> FrameRef:
        """Return a frame by its number; in a folder, names have the numbers.  Raises InputError."""
        if not clip_file.is_dir():
            return self._numbered(clip_file, number)
        return self._in_folder(clip_file, f"{number:07d}", number)

    def _places(self, text: str, parts: list[str]) -> Iterator[tuple[Path, list[str]]]:
        """Yield folders with the path to look for in each, the longest end of the path first."""
        for start in range(len(parts) - _least_parts(parts) + 1):
            if ".." not in parts[start:]:
                yield from ((root, parts[start:]) for root in self.roots)
        for folder in self.elsewhere:
            yield (Path("/") if text.startswith("/") else folder), parts

    def _at(self, base: Path, parts: list[str]) -> FrameRef | Clip | None:
        """Find the picture or clip that ``base/parts`` names; None where there is none."""
        exact = self._walk(base, parts)
        stem, suffix = os.path.splitext(parts[-1])
        names_picture = suffix.lower() in PICTURE_SUFFIXES
        if exact is not None:
            still = names_picture and exact.is_file() and not moves(exact)
            return self._picture(exact) if still else self._clip(exact)
        if not names_picture:
            clip = self._clip_file(base, parts)
            return None if clip is None else self._clip(clip)
        clip, number = self._clip_file(base, parts[:-1]), frame_number(stem)
        if clip is None or number is None or (clip.is_dir() and not self._frames_in(clip)):
            return None
        if clip.is_dir():
            return self._in_folder(clip, stem, number)
        return self._numbered(clip, number)

    def _walk(self, base: Path, parts: list[str]) -> Path | None:
        """Return ``base/parts`` where it exists; part by part, since most fail at the first."""
        path = base
        for part in parts:
            path = path / part
            if not self._exists(path):
                return None
        return path

    def _clip_file(self, base: Path, parts: list[str]) -> Path | None:
        """Find the folder, video or strip of a clip; a folder comes before files of its name."""
        folder = self._walk(base, parts[:-1]) if parts else None
        if folder is None:
            return None
        name = parts[-1]
        files = self._clips_in(folder).get(without_suffix(name), [])
        return min(files, key=lambda file: (not file.is_dir(), file.name != name), default=None)

    def _clip(self, path: Path) -> Clip:
        found = self._opened(path)
        if isinstance(found, InputError):
            raise found
        name = self._folder_name(path)
        return found._replace(name=name, identity=identity_of(name))

    def _in_folder(self, folder: Path, stem: str, number: int) -> FrameRef:
        """Find a frame by number, whatever its ending and zeros; the one named ``stem`` first."""
        paths = self._frames_in(folder).get(number, [])
        paths = [path for path in paths if path.stem == stem] or paths
        if not paths:
            raise InputError(f"{folder} has no frame {number}.")
        if len(paths) > 1:
            names = " and ".join(sorted(path.name for path in paths))
            raise InputError(f"{folder} has two frames of one number: {names}.")
        return self._picture(paths[0], folder)

    def _picture(self, path: Path, folder: Path | None = None) -> FrameRef:
        """Refer to a picture file: a frame of its folder, or a clip where its name is no number.

        In a folder that is named like a clip, person#clip, pictures of any name are frames.
        """
        named_as_clip = "#" in path.parent.name and "#" not in path.stem
        if folder is None and (named_as_clip or frame_number(path.stem) is not None):
            folder = path.parent
        clip = path.stem if folder is None else self._folder_name(folder)
        return FrameRef(clip, path.stem, path, None)

    def _numbered(self, path: Path, number: int) -> FrameRef:
        num_frames = self._clip(path).num_frames
        if number >= num_frames:
            raise InputError(
                f"{path} holds {counted(num_frames, 'frame')}: there is no frame {number}."
            )
        return FrameRef(self._folder_name(path), f"{number:07d}", path, number)

    def _folder_name(self, path: Path) -> str:
        """Return the name of the clip in a folder or file, as in ``datasets.clips``."""
        absolute = Path(os.path.abspath(path))
        if absolute.name == CELEBV_FOLDER:
            return clip_name(absolute.parent)
        name = clip_name(absolute)
        for split, folder in self.folders.items():
            # above a root that is not split may be other folders than a person's
            if path.is_relative_to(folder) and (split or "#" not in name):
                return with_person(name, path, folder)
        return name


def frame_number(stem: str) -> int | None:
    """Read the number in the name of a frame, ``0000012`` or ``frame_12``; None in other names."""
    match = FRAME_NAME.fullmatch(stem)
    return int(match[1]) if match else None


def _frames_in(folder: Path) -> dict[int, list[Path]]:
    frames: dict[int, list[Path]] = {}
    for path in map(Path, os.scandir(folder)):
        number = frame_number(path.stem)
        if number is not None and path.suffix.lower() in FRAME_SUFFIXES:
            frames.setdefault(number, []).append(path)
    return frames


def _clips_in(folder: Path, of_people: Collection[Path]) -> dict[str, list[Path]]:
    """List the folders, videos and strips in a folder by their names without endings.

    A folder of frames may be named ``CLIP.mp4``, after the video that they came from.  In a folder
    ``of_people`` each person may have a folder.
    """
    files: dict[str, list[Path]] = {}
    if folder.is_dir():
        paths = possible_clips(folder) if folder in of_people else map(Path, os.scandir(folder))
        for path in sorted(paths, key=_kind_and_name):
            if path.suffix.lower() in CLIP_SUFFIXES or path.is_dir():
                name = with_person(without_suffix(path.name), path, folder)
                files.setdefault(name, []).append(path)
    return files


def _kind_and_name(path: Path) -> tuple[bool, str]:
    return path.suffix.lower() in FRAME_SUFFIXES, path.name  # videos before strips


def _least_parts(parts: list[str]) -> int:
    """Count the parts at the end of a path that distinguish its file from those of other clips."""
    if "#" in parts[-1]:
        return 1
    is_frame = os.path.splitext(parts[-1])[1].lower() in PICTURE_SUFFIXES
    folders = parts[:-1] if is_frame else parts
    in_celebv = folders[-1:] == [CELEBV_FOLDER]
    return min(1 + is_frame + in_celebv, len(parts))
