"""Compute how much of a table of clips, or of a list of pairs, a root holds."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from datasets.clips import identity_of
from datasets.contents import Contents
from datasets.pair_list import read_pair_list
from datasets.preprocessing.metadata import read_metadata
from utils.files import printable
from utils.section import Section
from utils.wording import counted

SHOWN = 3  # rows that cannot be used, as examples


class Share(Section):
    """Numbers of items that are listed, and of those that exist."""

    listed: int
    present: int

    @property
    def missing(self) -> int:
        return self.listed - self.present

    def __str__(self) -> str:
        share = f" ({self.present / self.listed:.1%})" if self.listed else ""
        return f"{self.listed:,} listed, {self.present:,} present{share}, {self.missing:,} missing"


class SplitCoverage(Section):
    """Coverage of the clips that a table lists for one split."""

    clips: Share
    people: dict[str, Share]
    videos: Share  # with one clip or more
    missing: list[str]  # clips
    unlisted: list[str]  # clips that the table does not list for the split


class TableCoverage(Section):
    """Coverage of a table of clips."""

    metadata: str
    splits: dict[str, SplitCoverage]
    bad_rows: dict[str, str]  # of the table, which do not count otherwise

    def table(self) -> str:
        """Format the coverage for people."""
        lines = [f"Against {self.metadata}:"]
        for split, own in self.splits.items():
            whole = sum(share.missing == 0 for share in own.people.values())
            none = sum(share.present == 0 for share in own.people.values())
            lines += [
                f"  {split}: clips: {own.clips}; {len(own.unlisted):,} that it does not list",
                f"  {split}: videos: {own.videos}",
                f"  {split}: people: {len(own.people):,}, of whom all clips are there of "
                f"{whole:,}, none of {none:,}",
            ]
        if self.bad_rows:
            lines.append(f"  {counted(len(self.bad_rows), 'bad row')} (see stats.json)")
        return "\n".join(lines)


class PairCoverage(Section):
    """Coverage of a list of pairs."""

    pairs: str
    rows: Share  # different rows
    repeated: int  # rows that repeat an earlier one
    people: dict[str, int]  # rows that can be used, by the driving person
    missing: dict[str, str]  # rows, with reasons

    def table(self) -> str:
        """Format the coverage for people."""
        lines = [f"Against {self.pairs}:", f"  pairs: {self.rows}; {self.repeated:,} repeated"]
        lines += [f"  {row}: {reason}" for row, reason in list(self.missing.items())[:SHOWN]]
        if len(self.missing) > SHOWN:
            lines.append(f"  and {len(self.missing) - SHOWN:,} more (see stats.json)")
        return "\n".join(lines)


Coverage = TableCoverage | PairCoverage


def cover_table(path: Path, contents: Contents) -> TableCoverage:
    """Compare a root with a table, by split, person and video.  Raises InputError."""
    metadata = read_metadata(path)
    listed: dict[str, dict[str, str]] = {}  # by split: names of clips, and their videos
    for video, cuts in metadata.cuts.items():
        for cut in cuts:
            listed.setdefault(cut.split, {})[cut.name] = video
    splits = sorted({*listed, *filter(None, contents.clips)}, reverse=True)  # train first
    everywhere = {name for names in listed.values() for name in names}
    covered: dict[str, SplitCoverage] = {}
    for split in splits:
        divided = "" not in contents.clips
        here = set(map(contents.name, contents.clips.get(split if divided else "", [])))
        own = listed.get(split, {})
        covered[split] = cover_split(
            own, here, unlisted=here - (own.keys() if divided else everywhere)
        )
    return TableCoverage(
        metadata=str(path),
        splits=covered,
        bad_rows={problem.name: problem.detail for problem in metadata.problems},
    )


def cover_split(listed: dict[str, str], here: set[str], unlisted: set[str]) -> SplitCoverage:
    """Compare the clips that are ``listed`` for a split, with their videos, with those here."""
    present = listed.keys() & here
    return SplitCoverage(
        clips=Share(listed=len(listed), present=len(present)),
        people=shares(map(identity_of, listed), map(identity_of, present)),
        videos=Share(
            listed=len(set(listed.values())), present=len({listed[name] for name in present})
        ),
        missing=sorted(listed.keys() - present),
        unlisted=sorted(map(printable, unlisted)),
    )


def cover_pairs(path: Path, contents: Contents) -> PairCoverage:
    """Count the rows of a list of pairs whose files a root has.  Raises InputError."""
    pairs = read_pair_list(path, contents.root)
    people = Counter(pair.identity for pair in pairs.pairs)
    present = len(pairs.pairs)
    return PairCoverage(
        pairs=str(path),
        rows=Share(listed=present + len(pairs.missing), present=present),
        repeated=pairs.num_duplicates,
        people=dict(sorted(people.items())),
        missing=pairs.missing,
    )


def shares(listed: Iterable[str], present: Iterable[str]) -> dict[str, Share]:
    """Count the listed and the existing items of each name."""
    counts, there = Counter(listed), Counter(present)
    return {
        name: Share(listed=count, present=there[name]) for name, count in sorted(counts.items())
    }
