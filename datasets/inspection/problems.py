"""Find the problems in the root of a data set, with advice for each kind."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from datasets.clips import SPLITS, clip_name, identity_of
from datasets.contents import Contents
from datasets.inspection.clip_inspection import (
    NO_CLIP,
    NOT_CHECKED,
    UNREADABLE,
    Fault,
    Inspection,
    WidthHeight,
)
from datasets.records import ClipRecord, read_record
from utils.errors import InputError
from utils.files import printable
from utils.wording import counted

KEY_FRAME_EVERY = 12  # frames at most: reading a frame begins at the key frame before it
SAME_SHAPE = 0.02  # change of width / height by resizing that nobody sees in a face

SIZE, SHAPE, RATE, KEYS = "wrong size", "wrong shape", "wrong rate", "key frames"
TOO_SHORT, NAMES, PEOPLE = "too short", "duplicate name", "person in both splits"
RECORD, RECORD_SIZE, ORPHAN = "record disagrees", "size in record", "record without clip"
TEMPORARY = "temporary file"

REJECTED = {UNREADABLE, TOO_SHORT}  # --fix moves such clips aside
ENCODED = {SIZE, RATE, KEYS}  # and encodes these again
ADVICE = {
    UNREADABLE: "--fix moves it into {rejected}.",
    TOO_SHORT: "--fix moves it into {rejected}; --min-frames says what is too short.",
    SIZE: "--fix resizes it.",
    SHAPE: "resizing would distort the face: cut it again, or move it out of the root.",
    RATE: "--fix encodes it again at 25 frames/s, by the times that the file states.",
    KEYS: f"--fix encodes it again with a key frame every {KEY_FRAME_EVERY}.",
    NAMES: "lists know a clip by its name without the ending: delete or rename all but one.",
    PEOPLE: "the test split must not show people of the training: move each into one split.",
    NO_CLIP: "move it out of the split, or what is in it into the split.",
    RECORD: "nothing says which of the two is right: delete both, and cut the clip again.",
    RECORD_SIZE: "--fix writes the size of the frames into it.",
    ORPHAN: "--fix deletes it.",
    TEMPORARY: "of a run that was killed, or is writing now: --fix deletes it.",
    NOT_CHECKED: "the process that read it died: check again, with fewer --workers perhaps.",
}

Found = dict[Path, Inspection | Fault]


class Problem(NamedTuple):
    """Problem of one clip, file or person in a root."""

    kind: str  # a key of ADVICE
    name: str  # its path in the root, the name of clips, or a person
    detail: str
    path: Path  # of the file; the root where it is about several


class Expected(NamedTuple):
    """Required properties of clips."""

    size: WidthHeight
    min_frames: int


def find_problems(contents: Contents, found: Found, expected: Expected) -> list[Problem]:
    """Find all problems of a root: those of each clip, then those of other files and names."""
    problems = []
    for path in contents.all_clips:
        for kind, detail in clip_problems(path, found[path], expected):
            problems.append(Problem(kind, contents.label(path), detail, path))
        for leftover in getattr(found[path], "leftovers", ()):
            problems.append(Problem(TEMPORARY, contents.label(leftover), "", leftover))
    problems += orphans(contents)
    problems += [Problem(TEMPORARY, contents.label(path), "", path) for path in contents.leftovers]
    problems += duplicate_names(contents) + people_in_both(contents)
    return problems


def clip_problems(
    path: Path, found: Inspection | Fault, expected: Expected
) -> Iterator[tuple[str, str]]:
    """Yield the problems of one clip, each with a detail."""
    if isinstance(found, Fault):
        yield found
    elif found.num_frames < expected.min_frames:
        yield TOO_SHORT, counted(found.num_frames, "frame")
    else:
        if found.sizes != (expected.size,):
            sizes = ", ".join(f"{width} x {height}" for width, height in found.sizes)
            resizable = all(same_shape(size, expected.size) for size in found.sizes)
            width, height = expected.size
            yield SIZE if resizable else SHAPE, f"{sizes}, not {width} x {height}"
        if found.rate_fault:
            yield RATE, found.rate_fault
        if found.key_spacing > KEY_FRAME_EVERY:
            yield KEYS, f"up to {found.key_spacing} frames apart"
        yield from record_problems(path, found)


def record_problems(path: Path, found: Inspection) -> Iterator[tuple[str, str]]:
    """Yield how a clip and its record disagree, where there is one."""
    try:
        record = read_record(path)
    except InputError as error:
        yield RECORD, str(error)
        return
    if record is None:
        return
    start, end = record.frames
    if end - start != found.num_frames:
        yield RECORD, f"it says {counted(end - start, 'frame')}, the clip has {found.num_frames}"
    elif found.sizes != (record.size,):
        yield RECORD_SIZE, f"it says {record.size[0]} x {record.size[1]}"


def orphans(contents: Contents) -> list[Problem]:
    """Find records without a clip; other JSON files do not count."""
    places = {path.parent / clip_name(path) for path in contents.all_clips}
    return [
        Problem(ORPHAN, contents.label(path), "", path)
        for path in contents.records
        if path.with_name(path.name.removesuffix(".json")) not in places and _is_record(path)
    ]


def duplicate_names(contents: Contents) -> list[Problem]:
    """Find names that several clips have, in one split or in both."""
    uses: dict[str, list[str]] = {}
    for path in contents.all_clips:
        uses.setdefault(printable(contents.name(path)), []).append(contents.label(path))
    return [
        Problem(NAMES, name, ", ".join(labels), contents.root)
        for name, labels in sorted(uses.items())
        if len(labels) > 1
    ]


def people_in_both(contents: Contents) -> list[Problem]:
    """Find people with clips in both splits."""
    if set(contents.clips) != set(SPLITS):
        return []
    train, test = (
        Counter(identity_of(printable(contents.name(path))) for path in contents.clips[split])
        for split in SPLITS
    )
    return [
        Problem(
            PEOPLE,
            person,
            f"{counted(train[person], 'clip')} in train, {test[person]} in test",
            contents.root,
        )
        for person in sorted(train.keys() & test.keys())
    ]


def same_shape(size: WidthHeight, other: WidthHeight) -> bool:
    """Whether resizing from one size to the other distorts nothing visibly."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= SAME_SHAPE


def _is_record(path: Path) -> bool:
    try:
        return ClipRecord.read_json(path, "is not a record.") is not None
    except InputError:
        return False
