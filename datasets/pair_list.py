"""Read lists of pairs from CSV files, ours and the published ones as they are.

``source,driving[,best_frame]`` names pictures (or videos); relative motion starts from
``best_frame``, a picture or the number of a driving frame.  ``source,driving,frame`` is the form of
FOMM: names of clips, of which the first frame of the source is animated by the driving clip;
``frame`` is such a number too.  Other published names of columns are in ``COLUMNS``; the log says
how each was understood.
"""

import csv
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from datasets.clips import Clip, is_strip, without_suffix
from datasets.frame_finder import (
    CELEBV_FOLDER,
    FrameFinder,
    FrameRef,
    frame_number,
    read_refs,
)
from media.pictures import PICTURE_SUFFIXES
from utils.errors import InputError

__all__ = ["FrameRef", "Pair", "PairList", "read_pair_list", "read_refs"]

MAX_NAME = 100  # bytes of one side's name: file systems allow 255 for both
SHOWN = 3  # rows in an error about many
# Names of columns by their meaning, ours first
COLUMNS = {
    "source": ("source", "source_frame", "source_image"),
    "driving": ("driving", "driving_video", "driving_frame", "driving_image"),
    "best_frame": ("best_frame", "frame", "anchor"),
}
OURS = frozenset(COLUMNS)  # lists of users have these names too

logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """Source picture, and the picture or clip that animates it."""

    name: str  # unique in its list; a file may be called so
    source: FrameRef
    driving: FrameRef | Clip  # one picture, or all frames of a clip
    best_frame: FrameRef | Literal["auto"] | None  # where relative motion starts
    of_protocol: bool  # frames of a data set, which are not cropped

    @property
    def identity(self) -> str:
        """Driving person."""
        return self.driving.identity

    @property
    def same_identity(self) -> bool:
        """Whether source and driving show one person, by the names of their clips."""
        return self.source.identity == self.identity

    @property
    def motion(self) -> Literal["relative", "absolute"]:
        """Kind of motion transfer that the protocols prescribe.

        It is absolute where the person is the same, and where no start of relative motion is
        known; for a whole clip that is its first frame.  Outside of protocols clips animate a
        source as usual, with relative motion: their names do not say who is shown.
        """
        if not self.of_protocol and isinstance(self.driving, Clip):
            return "relative"
        known = self.best_frame is not None or isinstance(self.driving, Clip)
        return "relative" if known and not self.same_identity else "absolute"


class PairList(NamedTuple):
    """Distinct pairs of a list, and the rows that cannot be used."""

    path: Path
    root: Path | None  # where clips were searched
    sha256: str  # of the file
    num_rows: int
    num_duplicates: int  # rows that repeat an earlier one
    pairs: list[Pair]
    missing: dict[str, str]  # "line 7: SOURCE, DRIVING" -> reason

    @property
    def inputs(self) -> list[Path]:
        """Paths that are read: the list, the root if there is one, and the files of all pairs."""
        parts = (part for pair in self.pairs for part in (pair.source, pair.driving))
        files = dict.fromkeys(part.path for part in parts)
        return [self.path, *([] if self.root is None else [self.root]), *files]

    def require_all(self) -> None:
        """Raise InputError, which names each row that cannot be used, where there are any."""
        if self.missing:
            rows = "\n".join(f"{row}: {reason}" for row, reason in self.missing.items())
            raise InputError(
                f"{len(self.missing)} of the {self.num_rows} rows of {self.path} cannot be used:\n"
                + rows
            )


class PairRow(NamedTuple):
    """Cells of one row of a list."""

    source: str
    driving: str
    best_frame: str  # "" where the row has none
    surplus: str  # cells beyond the header


def read_pair_list(path: Path, root: Path | None = None) -> PairList:
    """Read a CSV file, and find its files under ``root``, beside it or in the working directory.

    Rows that cannot be used are listed in ``missing``.  Raises InputError where the file is no
    list of pairs, where ``root`` is no folder, and where no row can be used.
    """
    try:
        content = path.read_bytes()
        header, rows = read_rows(content, path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a CSV file of pairs: {error}.") from error
    finder = FrameFinder(root, path.parent)
    lines: dict[PairRow, int] = {}
    for line, row in rows:
        lines.setdefault(row, line)  # a repeated row is none of its own
    published = any(set(names) & set(header) - OURS for names in COLUMNS.values())
    pairs: dict[tuple[object, ...], Pair] = {}
    missing: dict[str, str] = {}
    for name, row in unique_names(lines).items():
        try:
            pair = resolve(row, name, finder, published)
            pairs.setdefault(pair[1:], pair)  # nor is the same pair by other paths
        except InputError as error:
            missing[f"line {lines[row]}: {row.source}, {row.driving}"] = str(error)
    if not pairs:
        shown = "; ".join(f"{row}: {reason}" for row, reason in list(missing.items())[:SHOWN])
        raise InputError(f"None of the {len(rows)} rows of {path} can be used: {shown}")
    return PairList(
        path,
        root,
        sha256=hashlib.sha256(content).hexdigest(),
        num_rows=len(rows),
        num_duplicates=len(rows) - len(pairs) - len(missing),
        pairs=list(pairs.values()),
        missing=missing,
    )


def read_rows(content: bytes, path: Path) -> tuple[list[str], list[tuple[int, PairRow]]]:
    """Read the header of a list, and its rows with their line numbers.

    The log says how columns of other names were understood, and which ones no row fills.
    """
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    header = [name.strip().lower() for name in reader.fieldnames or []]
    columns = {of: [name for name in names if name in header] for of, names in COLUMNS.items()}
    if not (columns["source"] and columns["driving"]):
        raise InputError(
            f"{path} must start with the line source,driving or source,driving,best_frame (or "
            "source,driving,frame, of clips; other names for them are "
            f"{', '.join(name for names in COLUMNS.values() for name in names[1:])}): found "
            f"{','.join(header)[:200]!r}."
        )
    reader.fieldnames = header
    rows = [(reader.line_num, read_row(row, columns)) for row in reader]
    if not rows:
        raise InputError(f"{path} lists no pairs.")
    for of, names in columns.items():
        for name in set(names) - OURS:
            logger.info("%s: the column %s is taken for %s.", path, name, of)
    if columns["best_frame"] and not any(row.best_frame for _, row in rows):
        name = columns["best_frame"][0]
        logger.info("%s: the header names %s, which no row has.", path, name)
    for name in header:
        if not any(name in names for names in columns.values()):
            logger.warning("%s: the column %r is not known, and is ignored.", path, name)
    return header, rows


def read_row(
    cells: Mapping[str | None, str | list[str] | None], columns: Mapping[str, list[str]]
) -> PairRow:
    """Read the cells of a row; the first filled cell counts among ``columns`` of one meaning.

    Cells are None where the row is shorter than the header; a list holds those beyond it.
    """
    texts = {
        name: (",".join(cell) if isinstance(cell, list) else cell or "").strip()
        for name, cell in cells.items()
    }
    found = {of: next(filter(None, map(texts.get, names)), "") for of, names in columns.items()}
    return PairRow(**found, surplus=texts.get(None, "").strip(","))


def resolve(row: PairRow, name: str, finder: FrameFinder, published: bool) -> Pair:
    """Make the pair of a row.  Raises InputError where it cannot be used.

    It belongs to a protocol if its list has a ``published`` header, or its names are of a data set.
    """
    if row.surplus:
        raise InputError(f"It has more cells than the header has names: {row.surplus!r}.")
    source, driving = finder.find(row.source), finder.find(row.driving)
    if isinstance(source, Clip):
        source = finder.first_frame(source)
    if isinstance(driving, Clip) and is_strip(driving.path):
        raise InputError(f"{driving.path} is a strip: only single frames of it can drive.")
    best_frame = resolve_best_frame(row.best_frame, driving, finder)
    of_protocol = published or (of_data_set(source) and of_data_set(driving))
    return Pair(name, source, driving, best_frame, of_protocol)


def of_data_set(part: FrameRef | Clip) -> bool:
    """Whether a name is one of a data set: PERSON#CLIP, or PERSON/Image of CelebV."""
    clip = part.clip if isinstance(part, FrameRef) else part.name
    return "#" in clip or CELEBV_FOLDER in part.path.parts[-2:]


def resolve_best_frame(
    text: str, driving: FrameRef | Clip, finder: FrameFinder
) -> FrameRef | Literal["auto"] | None:
    """Find the frame that a cell names by its number in the driving clip, or by its path."""
    if not text:
        return None
    if text == "auto":
        if isinstance(driving, FrameRef):
            raise InputError("The best frame can be auto only where a whole clip drives.")
        return "auto"
    if re.fullmatch(r"[0-9]{1,18}(\.0)?", text):  # pandas writes 7.0 where other rows have none
        in_file = isinstance(driving, Clip) or driving.number is not None
        clip_file = driving.path if in_file else driving.path.parent
        return finder.frame(clip_file, int(text.partition(".")[0]))
    if os.path.splitext(text)[1].lower() in PICTURE_SUFFIXES:
        found = finder.find(text)
        if isinstance(found, FrameRef):
            return found
    raise InputError(f"The best frame is auto, a picture or the number of a frame: found {text!r}.")


def unique_names(rows: Iterable[PairRow]) -> dict[str, PairRow]:
    """Give each row a unique name, which depends on the list alone and not on the data."""
    named: dict[str, PairRow] = {}
    taken: set[str] = set()  # in lower case, as some file systems see names
    for row in rows:
        base = f"{side_name(row.source)}--{side_name(row.driving)}"
        name, count = base, 1
        while name.casefold() in taken:
            count += 1
            name = f"{base}-{count}"
        taken.add(name.casefold())
        named[name] = row
    return named


def side_name(text: str) -> str:
    """Shorten a path to a file name: its last part, after its folder where that is a number."""
    *folders, last = [""] + [part for part in re.split(r"[/\\]", text) if part not in ("", ".")]
    name = without_suffix(last)
    if frame_number(name) is not None:
        folders = [folder for folder in folders if folder != CELEBV_FOLDER]
        name = f"{without_suffix(folders[-1])}-{name}" if folders[-1] else name
    safe = re.sub(r"[^\w#.=+-]+", "_", name).lstrip(".").encode()
    if len(safe) > MAX_NAME:  # the person stands first, the frame last
        safe = safe[: MAX_NAME // 2] + b"..." + safe[-MAX_NAME // 2 :]
    return safe.decode(errors="ignore") or "_"
