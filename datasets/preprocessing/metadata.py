"""Read the metadata table of VoxCeleb, which says what clips to cut out of which videos.

The table of FOMM's preprocessing has a row for each clip: ``video_id, start, end, bbox, fps, width,
height, partition, person_id``.  ``start`` and ``end`` (the first frame after the clip) are numbers
of frames at 25 frames/s, whatever ``fps`` says of the original; ``bbox`` is left-top-right-bottom
in pixels of a frame of ``width x height``, and may reach beyond it: then the frame's edge cuts it,
as in the published tool, which slices the frame.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from datasets.clips import identity_of
from datasets.preprocessing.cutting import Cut
from datasets.preprocessing.run import Outcome
from media.pictures import Box
from utils.errors import InputError

MAX_ID = 80  # bytes of a video's or a person's id: file systems allow 255 for the whole name
NAME = r"(?!\.)[^/\\#\x00-\x1f\x7f]+", "a name for files"  # a part of person#video#start#end
NUMBER = r"[0-9]{1,9}(?:\.0*)?", "a number from 0 on"  # pandas writes 12.0
SIDE = r"0*[1-9][0-9]{0,8}(?:\.0*)?", "a number from 1 on"
BOX = "-".join([r"(-?[0-9]{1,9}(?:\.[0-9]*)?)"] * 4)
# Columns that are needed: the pattern of their cells, and its meaning
COLUMNS = {
    "video_id": NAME,
    "start": NUMBER,
    "end": NUMBER,
    "bbox": (BOX, "left-top-right-bottom"),
    "width": SIDE,
    "height": SIDE,
    "partition": ("train|test", "train or test"),
    "person_id": NAME,
}


class Metadata(NamedTuple):
    """Clips of a table, and the problems of its other rows."""

    cuts: dict[str, list[Cut]]  # by video in the order of ids, then in the order of time
    problems: list[Outcome]  # each with the number of its line in the detail


class BadRow(Exception):
    """Row that cannot be used: the reason in reports, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail

    def outcome(self, line: int) -> Outcome:
        return Outcome(f"line {line}", "", self.reason, f"Line {line}: {self.detail}.")


def read_metadata(path: Path) -> Metadata:
    """Read the clips of a table; bad rows are listed as problems.

    Of two rows of one name the first counts.  A person in both partitions is a problem, but the
    clips are kept.  Raises InputError where the file is no such table.
    """
    header, rows = read_lines(path)
    found: dict[str, tuple[int, str, Cut]] = {}  # line, video and clip, by the clip's name
    problems: list[Outcome] = []
    for line, text in rows:
        try:
            video, cut = read_row(text, header)
            if cut.name in found:
                detail = f"{cut.name} stands in line {found[cut.name][0]} already"
                raise BadRow("two rows of one name", detail)
            found[cut.name] = line, video, cut
        except BadRow as bad:
            problems.append(bad.outcome(line))
    cuts: dict[str, list[Cut]] = {}
    for _, video, cut in sorted(found.values(), key=lambda row: (row[1], row[2].start, row[2])):
        cuts.setdefault(video, []).append(cut)
    return Metadata(cuts, problems + people_in_both(found))


def read_lines(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """Read the header, and the other lines that are not empty, with their numbers.

    A row never spans several lines: an open quote makes only its own row unusable.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a CSV file of clips: {error}.") from error
    lines = re.split(r"\r\n|\r|\n", text)
    try:
        header = split_cells(lines[0])
    except BadRow:
        header = []
    if any(header.count(column) != 1 for column in COLUMNS):
        raise InputError(
            f"{path} must start with a line that names the columns {', '.join(COLUMNS)}, once "
            f"each: found {lines[0][:200]!r}."
        )
    rows = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if not rows:
        raise InputError(f"{path} lists no clips: give a table with a row for each.")
    return header, rows


def split_cells(text: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text], strict=True))]
    except csv.Error as error:
        raise BadRow("malformed row", f"its quotes do not close ({error})") from error


def read_row(text: str, header: list[str]) -> tuple[str, Cut]:
    """Read the video of a row, and the clip to cut out of it.  Raises BadRow."""
    cells = split_cells(text)
    while len(cells) > len(header) and not cells[-1]:
        cells.pop()
    if len(cells) != len(header):
        raise BadRow("malformed row", f"it has {len(cells)} cells, the header {len(header)}")
    row = dict(zip(header, cells, strict=True))
    for column, (pattern, meaning) in COLUMNS.items():
        text = row[column]
        too_long = column.endswith("_id") and len(text.encode()) > MAX_ID
        if too_long or not re.fullmatch(pattern, text):
            raise BadRow("malformed row", f"{column} is {meaning}: found {text[:80]!r}")
    start, end = read_number(row["start"]), read_number(row["end"])
    if end <= start:
        raise BadRow("empty range", f"the clip begins at {start} and ends at {end}")
    name = f"{row['person_id']}#{row['video_id']}#{start:06d}#{end:06d}"
    return row["video_id"], Cut(name, row["partition"], start, end, *read_box(row))


def read_number(text: str) -> int:
    """Read a whole number, which may end in ".0"."""
    return int(text.partition(".")[0])


def read_box(row: dict[str, str]) -> tuple[Box, Box | None]:
    """Read the box within the frame and, where that differs, as stated, in fractions of it."""
    width, height = read_number(row["width"]), read_number(row["height"])
    match = re.fullmatch(BOX, row["bbox"])
    assert match is not None
    stated = Box(*map(float, match.groups()))
    left, top, right, bottom = stated
    box = Box(max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if box.width <= 0 or box.height <= 0:
        detail = f"nothing of the frame of {width} x {height} is in the box {row['bbox']}"
        raise BadRow("empty box", detail)
    cut, whole = (one.scaled(1 / width, 1 / height) for one in (box, stated))
    return cut, None if box == stated else whole


def people_in_both(found: dict[str, tuple[int, str, Cut]]) -> list[Outcome]:
    """Find the people with clips in both partitions, in the order of their ids."""
    lines: dict[str, dict[str, int]] = {}  # the first of each partition, by person
    for line, _, cut in found.values():
        lines.setdefault(identity_of(cut.name), {}).setdefault(cut.split, line)
    detail = "Lines {train} and {test}: {person} is in train and in test."
    return [
        Outcome(person, "", "person in both partitions", detail.format(person=person, **first))
        for person, first in sorted(lines.items())
        if len(first) > 1
    ]
