"""Command ``stats``: statistics of a root, a contact sheet, and the coverage of a list.

``motion`` is the difference of frames half a second apart; ``first_frame_psnr`` is the score of
repeating the first frame of a clip, which a network has to beat.
"""

from pathlib import Path

import pandas as pd

from datasets.clips import clip_name, identity_of
from datasets.contents import Contents, read_contents
from datasets.inspection.clip_stats import ClipStats, measure
from datasets.inspection.contact_sheet import Each, contact_sheet
from datasets.inspection.coverage import Coverage, cover_pairs, cover_table
from datasets.records import read_face_crop
from faces.crop import FaceCropConfig
from media.pictures import write_picture_whole
from utils.errors import InputError
from utils.files import make_folder, require_apart, write_atomically
from utils.progress import progress_bar
from utils.section import Section
from utils.wording import counted
from utils.worker_pool import DIED, map_in_processes

QUANTILES = {
    "min": 0,
    "5 %": 0.05,
    "25 %": 0.25,
    "median": 0.5,
    "75 %": 0.75,
    "95 %": 0.95,
    "max": 1,
}
TITLES = {  # of the statistics, in the order of the table
    "seconds": "seconds of a clip",
    "brightness": "brightness, 0 to 255",
    "motion": "change in half a second, of 255",
    "first_frame_psnr": "first frame for all others, dB",
    "aspect": "height / width of the crops",
    "clips_of_person": "clips of a person",
    "seconds_of_person": "seconds of a person",
}


class Person(Section):
    """Clips of one person."""

    clips: int
    seconds: float


class SplitStats(Section):
    """Statistics of the clips of one split."""

    clips: int
    frames: int
    seconds: float
    sizes: dict[str, int]  # "width x height": clips, the most frequent first
    people: dict[str, Person]
    quantiles: dict[str, dict[str, float]]  # by statistic; without unknown ones

    def table(self) -> str:
        """Format the quantiles, one statistic to a line."""
        sizes = ", ".join(f"{size} ({count:,})" for size, count in self.sizes.items())
        table = pd.DataFrame(self.quantiles).T.rename(index=TITLES)
        return f"frames of {sizes}\n{table.to_string(float_format='{:,.2f}'.format)}"


class Stats(Section):
    """Content of ``stats.json``; the same root gives the same file."""

    root: str
    splits: dict[str, SplitStats]
    unreadable: dict[str, str]  # clips, with reasons
    face_crop: FaceCropConfig | None
    coverage: Coverage | None

    def table(self) -> str:
        """Format all statistics for people."""
        parts = []
        for split, stats in self.splits.items():
            heading = (
                f"{split or 'all'}: {counted(len(stats.people), 'person', 'people')}, "
                f"{counted(stats.clips, 'clip')}, "
                f"{stats.seconds:,.0f} s ({stats.seconds / 3600:.2f} h)"
            )
            parts.append(f"{heading}\n{stats.table()}" if stats.clips else heading)
        if self.unreadable:
            (name, reason), *_ = self.unreadable.items()
            parts.append(
                f"{counted(len(self.unreadable), 'clip')} cannot be read (see check), the first: "
                f"{name}: {reason}"
            )
        if self.coverage is not None:
            parts.append(self.coverage.table())
        return "\n\n".join(parts)


def write_stats(
    root: Path,
    output: Path,
    *,
    metadata: Path | None,
    pairs: Path | None,
    each: Each,
    count: int,
    workers: int,
) -> Stats:
    """Write ``stats.json``, ``clips.csv`` and ``contact_sheet.png`` into ``output``.

    Raises InputError where there are no clips, where a list cannot be read, where
    ``face_crop.json`` is damaged, or where nothing can be written.
    """
    if metadata is not None and pairs is not None:
        raise InputError("Coverage is that of one list: give --metadata or --pairs, not both.")
    require_apart(output, root, metadata, pairs)
    contents = read_contents(root)
    coverage: Coverage | None = None
    if metadata is not None:
        coverage = cover_table(metadata, contents)
    elif pairs is not None:
        coverage = cover_pairs(pairs, contents)
    face_crop = read_face_crop(root)
    make_folder(output)
    clips, unreadable = measure_all(contents, workers)
    by_split = {split: clips[clips["split"] == split] for split in contents.clips}
    stats = Stats(
        root=str(root),
        splits={split: split_stats(own) for split, own in by_split.items()},
        unreadable=unreadable,
        face_crop=face_crop,
        coverage=coverage,
    )
    table = clips.drop(columns="path").round(3)
    write_atomically(output / "clips.csv", table.to_csv(index=False, lineterminator="\n"))
    write_picture_whole(output / "contact_sheet.png", contact_sheet(by_split, each, count))
    stats.write_json(output / "stats.json")
    return stats


def measure_all(contents: Contents, workers: int) -> tuple[pd.DataFrame, dict[str, str]]:
    """Measure all clips of a root: a row each, with split, path and ``ClipStats``; and the errors.

    Rows are in the order of ``contents``, errors by the path in the root.
    """
    paths = contents.all_clips
    results = map_in_processes(measure, paths, workers, lambda path: DIED)
    done = dict(progress_bar(results, total=len(paths), unit="clip"))
    rows: list[tuple[object, ...]] = []
    unreadable: dict[str, str] = {}
    for split, own in contents.clips.items():
        for path in own:
            found = done[path]
            if isinstance(found, str):
                unreadable[contents.label(path)] = found
            else:
                name = clip_name(path, contents.root / split)
                rows.append((split, path, *found._replace(name=name, person=identity_of(name))))
    return pd.DataFrame(rows, columns=["split", "path", *ClipStats._fields]), unreadable


def split_stats(clips: pd.DataFrame) -> SplitStats:
    people = clips.groupby("person")["seconds"].agg(["size", "sum"])
    sizes = clips["width"].astype(str) + " x " + clips["height"].astype(str)
    counts = sizes.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    figures = {name: clips[name] for name in TITLES if name in clips}
    figures |= {"clips_of_person": people["size"], "seconds_of_person": people["sum"]}
    return SplitStats(
        clips=len(clips),
        frames=int(clips["num_frames"].sum()),
        seconds=round(float(clips["seconds"].sum()), 3),
        sizes=counts.to_dict(),
        people={
            name: Person(clips=int(number), seconds=round(float(seconds), 3))
            for name, number, seconds in people.itertuples()
        },
        quantiles={name: quantiles(own) for name, own in figures.items() if own.notna().any()},
    )


def quantiles(values: pd.Series) -> dict[str, float]:
    """Compute the ``QUANTILES`` of the known values, with linear interpolation."""
    found = values.astype(float).quantile(list(QUANTILES.values())).round(3)
    return dict(zip(QUANTILES, found.tolist(), strict=True))
