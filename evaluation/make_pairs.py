"""Lists of pairs that are drawn from clips by a seed, in the forms that are published.

``same`` takes two frames of one clip, ``cross`` the frames of two people, and ``clips`` names a
clip for the source and one of another person for the driving side.  The people take turns, and so
do the clips of each.
"""

import csv
import io
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from datasets.clips import Clip, is_strip, require_own_names
from datasets.frame_finder import frame_number
from media.pictures import frame_paths
from utils.errors import InputError
from utils.files import write_atomically
from utils.wording import counted

Kind = Literal["same", "cross", "clips"]
Draw = Callable[[Clip], tuple[str, ...]]  # a row with this clip as the source

HEADERS: dict[Kind, tuple[str, ...]] = {
    "same": ("source", "driving"),
    "cross": ("source", "driving"),
    "clips": ("source", "driving", "frame"),
}


def make_pairs(clips: Sequence[Clip], kind: Kind, count: int, seed: int) -> list[tuple[str, ...]]:
    """Draw ``count`` different rows for the header of ``kind``; equal seeds give equal rows.

    Raises InputError where the clips do not allow so many.
    """
    require_own_names(clips)
    random = np.random.default_rng(seed)
    people = by_person(clips, random)
    if kind != "same" and len(people) < 2:
        raise InputError(f"Pairs of two people need clips of two: found {len(people)}.")
    left = num_pairs(clips, kind)
    if count > sum(left.values()):
        raise InputError(
            f"{counted(len(clips), 'clip')} of {counted(len(people), 'person', 'people')} can give "
            f"{counted(sum(left.values()), 'different pair')} of the kind {kind}: ask "
            f"for no more, found {count}."
        )
    draw = drawing(people, kind, random)
    rows: dict[tuple[str, ...], None] = {}
    turns = deque(people.values())
    while len(rows) < count:
        own = turns.popleft()
        clip = own.popleft()
        if left[clip.name]:
            row = draw(clip)
            while row in rows:
                row = draw(clip)
            rows[row] = None
            left[clip.name] -= 1
            own.append(clip)
        if own:
            turns.append(own)
    return list(rows)


def write_pair_list(path: Path, kind: Kind, rows: Sequence[tuple[str, ...]]) -> None:
    """Write rows of a kind as a CSV file, whole.  Raises InputError where that fails."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([HEADERS[kind], *rows])
    write_atomically(path, text.getvalue())


def by_person(clips: Sequence[Clip], random: np.random.Generator) -> dict[str, deque[Clip]]:
    """Group the clips by person, all in random order."""
    people: dict[str, deque[Clip]] = {}
    for index in random.permutation(len(clips)):
        people.setdefault(clips[index].identity, deque()).append(clips[index])
    return people


def num_pairs(clips: Sequence[Clip], kind: Kind) -> dict[str, int]:
    """Count the rows that there are with each clip as the source."""
    if kind == "same":
        return {clip.name: clip.num_frames * (clip.num_frames - 1) for clip in clips}
    driving: Counter[str] = Counter()  # a person's frames, or clips, that can drive
    for clip in clips:
        driving[clip.identity] += clip.num_frames if kind == "cross" else can_drive(clip)
    total = driving.total()
    return {
        clip.name: (clip.num_frames if kind == "cross" else 1) * (total - driving[clip.identity])
        for clip in clips
    }


def drawing(people: dict[str, deque[Clip]], kind: Kind, random: np.random.Generator) -> Draw:
    """Make the function that draws rows; in the long run it draws every row that there is."""
    clips = {person: list(own) for person, own in people.items()}
    if kind == "clips":
        clips = {person: [clip for clip in own if can_drive(clip)] for person, own in clips.items()}
    persons = [person for person, own in clips.items() if own]

    def other(source: Clip) -> Clip:
        others = [person for person in persons if person != source.identity]
        own = clips[others[random.integers(len(others))]]
        return own[random.integers(len(own))]

    @cache
    def names(clip: Clip) -> list[str]:
        return frame_names(clip)

    def frames(clip: Clip, number: int) -> tuple[str, ...]:
        indices = random.choice(clip.num_frames, size=number, replace=False)
        return tuple(f"{clip.name}/{names(clip)[index]}" for index in indices)

    def whole(source: Clip) -> tuple[str, ...]:
        driving = other(source)
        first = frame_number(Path(names(driving)[0]).stem)
        return source.name, driving.name, "" if first is None else str(first)

    draws: dict[Kind, Draw] = {
        "same": lambda source: frames(source, 2),
        "cross": lambda source: frames(source, 1) + frames(other(source), 1),
        "clips": whole,
    }
    return draws[kind]


def can_drive(clip: Clip) -> bool:
    """Tell whether a whole clip can be the driving side, which a strip cannot."""
    return not is_strip(clip.path)


def frame_names(clip: Clip) -> list[str]:
    """List the files in a folder; for a video or strip, numbers written as if they were files."""
    if clip.path.is_dir():
        return [path.name for path in frame_paths(clip.path)]
    return [f"{number:07d}.png" for number in range(clip.num_frames)]
