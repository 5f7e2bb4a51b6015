"""Units of two folders of pictures or videos, paired by name: results of any method.

In a folder every video, every folder of frames and every picture is an entry, named without its
ending.  Pictures whose names are numbers are the frames of one clip instead.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from datasets.clips import clip_name, identity_of
from evaluation.metrics.landmarks import GivenLandmarks, given_files
from evaluation.work_units import Dropped, Read, Unit, UnitFrame
from media.animated import moves
from media.file_kinds import VIDEO_SUFFIXES
from media.pictures import PICTURE_SUFFIXES, Picture, frame_paths, read_image, require_text
from media.video import read_frames
from utils.errors import InputError
from utils.files import is_hidden

SUFFIXES = {*VIDEO_SUFFIXES, ".gif", *PICTURE_SUFFIXES}
PICTURES_IN_A_UNIT = 32


class Entry(NamedTuple):
    """Files of one name in the folders."""

    real: Path
    generated: Path
    source: Path | None


def read_clip(name: str, entry: Entry, landmarks: Path | None) -> Iterator[UnitFrame]:
    """Read two videos or folders, frames of the same names in the same order.

    Raises InputError where they differ.
    """
    source = None if entry.source is None else first_frame(entry.source)
    given, identity = GivenLandmarks(landmarks, entry.real), identity_of(name)
    frames = (named_frames(path) for path in (entry.real, entry.generated))
    for number, (real, generated) in enumerate(zip_longest(*frames)):
        if real is None or generated is None or real[0] != generated[0]:
            found = [frame[0] if frame else "no more" for frame in (real, generated)]
            raise InputError(
                f"The frames of {name} are not pairs: {found[0]} in {entry.real}, "
                f"where {found[1]} is in {entry.generated}."
            )
        found_landmarks = given(number, real[1])
        pictures = (source, real[1], generated[1])
        yield of_one_size(UnitFrame(name, identity, real[0], *pictures, found_landmarks))


def read_pictures(
    entries: dict[str, Entry], landmarks: Path | None
) -> Iterator[UnitFrame | Dropped]:
    """Read single pictures, each a clip by itself."""
    for name, entry in entries.items():
        try:
            yield from read_clip(name, entry, landmarks)
        except InputError as error:
            yield Dropped(name, str(error))


def entries_unit(
    name: str, entries: Sequence[Entry], landmarks: Path | None, read: Read, num_frames: int = 0
) -> Unit:
    """Make a unit that reads some entries, and the landmarks of their real frames."""
    files = [path for entry in entries for path in entry if path is not None]
    files += given_files(landmarks, (entry.real for entry in entries))
    return Unit(name, num_frames, files, read)


class PairedFolders(NamedTuple):
    """Units of the names that are in all folders, and the names that are not."""

    units: list[Unit]
    missing: dict[str, str]  # name -> where it is not
    num_names: int  # in any of them


def pair_folders(
    real: Path, generated: Path, source: Path | None, landmarks: Path | None = None
) -> PairedFolders:
    """Pair by name what is in all the folders; ``landmarks`` holds those of the real frames.

    Raises InputError where a folder is absent or holds nothing, or where no name is in both.
    """
    sides = {"--real": real, "--generated": generated}
    if source is not None:
        sides["--source"] = source
    found = {option: entries(path, option) for option, path in sides.items()}
    names = sorted(set().union(*(found[option] for option in ("--real", "--generated"))))
    missing: dict[str, str] = {}
    units: list[Unit] = []
    pictures: dict[str, Entry] = {}
    for name in names:
        absent = [str(sides[option]) for option in sides if name not in found[option]]
        if absent:
            missing[name] = f"It is not in {' or '.join(absent)}."
            continue
        entry = Entry(
            found["--real"][name], found["--generated"][name], found.get("--source", {}).get(name)
        )
        if all(is_picture(path) for path in (entry.real, entry.generated)):
            pictures[name] = entry
        else:
            read = partial(read_clip, name, entry, landmarks)
            units.append(entries_unit(name, [entry], landmarks, read))
    if not units and not pictures:
        raise InputError(
            f"No name is in all of {', '.join(map(str, sides.values()))}: pairs are made by name, "
            f"and the first here are {', '.join(next(iter(side)) for side in found.values())}."
        )
    remaining = iter(pictures.items())
    while chunk := dict(islice(remaining, PICTURES_IN_A_UNIT)):
        name, members = f"pictures from {next(iter(chunk))}", [*chunk.values()]
        reader = partial(read_pictures, chunk, landmarks)
        units.append(entries_unit(name, members, landmarks, reader, num_frames=len(chunk)))
    return PairedFolders(units, missing, len(names))


def entries(folder: Path, option: str) -> dict[str, Path]:
    """List the entries of a folder by name."""
    if not folder.is_dir():
        raise InputError(f"{option} {folder} is no folder: name one of frames or videos.")
    paths = [path for path in sorted(folder.iterdir()) if is_entry(path)]
    if not paths:
        raise InputError(f"{option} {folder} holds no pictures, videos or folders of frames.")
    if all(is_picture(path) and path.stem.isdecimal() for path in paths):
        return {"frames": folder}
    return by_name(paths, clip_name)


def by_name(paths: Iterable[Path], name_of: Callable[[Path], str]) -> dict[str, Path]:
    """Map names to paths in order; InputError where two have one name, or one is no text."""
    found: dict[str, Path] = {}
    for path in paths:
        require_text(path)
        name = name_of(path)
        if name in found:
            raise InputError(f"{found[name]} and {path} have the same name: remove one of them.")
        found[name] = path
    return found


def is_entry(path: Path) -> bool:
    """Tell whether a path is a video, a picture or a folder, and not hidden."""
    known = path.is_dir() or path.suffix.lower() in SUFFIXES
    return known and not is_hidden(path.name)


def is_picture(path: Path) -> bool:
    """Tell whether a file is a picture that is not animated."""
    is_file = path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()
    return is_file and not moves(path)


def named_frames(path: Path) -> Iterator[tuple[str, Picture]]:
    """Read the frames of a video, folder or picture; numbers are written with seven digits."""
    if path.is_dir():
        for name, file in by_name(frame_paths(path), numbered_name).items():
            yield name, read_image(file)
    else:
        for number, frame in enumerate(read_frames(path)):
            yield f"{number:07d}", frame.image


def numbered_name(file: Path) -> str:
    """Name a frame after its file, a number with seven digits."""
    return f"{int(file.stem):07d}" if file.stem.isdecimal() else file.stem


def first_frame(path: Path) -> Picture:
    """Read the first frame of a video, folder or picture."""
    return next(read_frames(path)).image


def of_one_size(frame: UnitFrame) -> UnitFrame:
    """Check that the two pictures to compare are of one size; InputError where they differ."""
    assert frame.generated is not None
    (height, width, _), (other_height, other_width, _) = frame.real.shape, frame.generated.shape
    if (height, width) != (other_height, other_width):
        raise InputError(
            f"Frame {frame.frame} of {frame.clip} is {width} x {height} pixels, the generated one "
            f"{other_width} x {other_height}."
        )
    return frame
