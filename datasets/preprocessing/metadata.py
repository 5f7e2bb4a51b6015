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

from datasets.clips import SPLITS, identity_of
from datasets.preprocessing.cutting import Cut
from datasets.preprocessing.run import Outcome
from media.pictures import Box
from utils.errors import InputError

# Columns that are needed
COLUMNS = ("video_id", "start", "end", "bbox", "width", "height", "partition", "person_id")
MAX_ID = 80  # bytes of a video's or a person's id: file systems allow 255 for the whole name

WHOLE = re.compile(r"([0-9]{1,9})(?:\.0*)?")  # pandas writes 12.0
BOX = re.compile("-".join([r"(-?[0-9]{1,9}(?:\.[0-9]*)?)"] * 4))
UNFIT = re.compile(r"[/\\#\x00-\x1f\x7f]|^\.")  # for the name of a clip, person#video#start#end


class Metadata(NamedTuple):
    """Clips of a table, and the problems of its other rows."""

    cuts: dict[str, list[Cut]]  # by video in the order of ids, then in the order of time
    problems: list[Outcome]  # each with the number of its line in the detail


class BadRow(Exception):
    """Row that cannot be used: the reason in reports, and the detail."""

    def __init__(self, reason: str, detail: str, split: str = "") -> None:
        super().__init__(detail)
        self.reason, self.detail, self.split = reason, detail, split

    def outcome(self, line: int) -> Outcome:
        """Return the outcome of the row in this line."""
        detail = f"Line {line}: {self.detail}."
        return Outcome(f"line {line}", self.split, self.reason, detail)


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
                first = found[cut.name][0]
                raise BadRow(
                    "two rows of one name", f"{cut.name} stands in line {first} already", cut.split
                )
            found[cut.name] = line, video, cut
        except BadRow as bad:
            problems.append(bad.outcome(line))
    cuts: dict[str, list[Cut]] = {}
    for _, video, cut in sorted(found.values(), key=_by_video_and_time):
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
    """Split a line into its cells.  Raises BadRow."""
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
    split = row["partition"]
    if split not in SPLITS:
        raise BadRow("malformed row", f"the partition is train or test: found {split[:80]!r}")
    person, video = read_id(row, "person_id", split), read_id(row, "video_id", split)
    start, end = read_whole(row, "start", split), read_whole(row, "end", split)
    if end <= start:
        raise BadRow("empty range", f"the clip begins at {start} and ends at {end}", split)
    box, stated = read_box(row, split)
    name = f"{person}#{video}#{start:06d}#{end:06d}"
    return video, Cut(name, split, start, end, box, stated)


def read_id(row: dict[str, str], column: str, split: str) -> str:
    """Read an id that may be a part of a file name.  Raises BadRow."""
    text = row[column]
    if not text or UNFIT.search(text) or len(text.encode()) > MAX_ID:
        raise BadRow("malformed row", f"{column} cannot name a file: found {text[:80]!r}", split)
    return text


def read_whole(row: dict[str, str], column: str, split: str) -> int:
    """Read a whole number that is not negative.  Raises BadRow."""
    match = WHOLE.fullmatch(row[column])
    if match is None:
        detail = f"{column} is a number from 0 on: found {row[column][:80]!r}"
        raise BadRow("malformed row", detail, split)
    return int(match[1])


def read_box(row: dict[str, str], split: str) -> tuple[Box, Box | None]:
    """Read the box within the frame and, where that differs, as stated, in fractions of it."""
    width, height = read_whole(row, "width", split), read_whole(row, "height", split)
    if not (width and height):
        raise BadRow("malformed row", f"the frame is {width} x {height} pixels", split)
    match = BOX.fullmatch(row["bbox"])
    if match is None:
        detail = f"bbox is left-top-right-bottom: found {row['bbox'][:80]!r}"
        raise BadRow("malformed row", detail, split)
    stated = Box(*map(float, match.groups()))
    left, top, right, bottom = stated
    box = Box(max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if box.width <= 0 or box.height <= 0:
        detail = f"nothing of the frame of {width} x {height} is in the box {row['bbox']}"
        raise BadRow("empty box", detail, split)
    cut, whole = (one.scaled(1 / width, 1 / height) for one in (box, stated))
    return cut, None if box == stated else whole


def people_in_both(found: dict[str, tuple[int, str, Cut]]) -> list[Outcome]:
    """Find the people with clips in both partitions, in the order of their ids."""
    lines: dict[str, dict[str, int]] = {}  # the first of each partition, by person
    for line, _, cut in found.values():
        lines.setdefault(identity_of(cut.name), {}).setdefault(cut.split, line)
    return [
        Outcome(
            person,
            "",
            "person in both partitions",
            f"Lines {first['train']} and {first['test']}: {person} is in train and in test.",
        )
        for person, first in sorted(lines.items())
        if len(first) > 1
    ]


def _by_video_and_time(row: tuple[int, str, Cut]) -> tuple[str, int, int, str]:
    _, video, cut = row
    return video, cut.start, cut.end, cut.name
