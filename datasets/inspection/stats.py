"""Command ``stats``: statistics of a root, a contact sheet, and the coverage of a list.

``motion`` is the difference of frames half a second apart; ``first_frame_psnr`` is the score of
repeating the first frame of a clip, which a network has to beat.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
from utils.worker_pool import WorkerDied, map_in_processes

QUANTILES = {
    "min": 0.0,
    "5 %": 0.05,
    "25 %": 0.25,
    "median": 0.5,
    "75 %": 0.75,
    "95 %": 0.95,
    "max": 1.0,
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
WIDTH = max(map(len, TITLES.values()))


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
        header = "".join(f"{name:>9}" for name in QUANTILES)
        sizes = ", ".join(f"{size} ({count:,})" for size, count in self.sizes.items())
        lines = [f"frames of {sizes}", f"{'':<{WIDTH}}{header}"]
        for figure, title in TITLES.items():
            if (values := self.quantiles.get(figure)) is not None:
                digits = 0 if figure == "clips_of_person" else 2
                numbers = "".join(f"{value:>9,.{digits}f}" for value in values.values())
                lines.append(f"{title:<{WIDTH}}{numbers}")
        return "\n".join(lines)


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
    measured = measure_all(contents, workers)
    stats = Stats(
        root=str(root),
        splits={split: split_stats(list(own.values())) for split, own in measured.clips.items()},
        unreadable=measured.unreadable,
        face_crop=face_crop,
        coverage=coverage,
    )
    write_atomically(output / "clips.csv", clips_table(measured.clips))
    write_picture_whole(
        output / "contact_sheet.png", contact_sheet(measured.clips, each=each, count=count)
    )
    stats.write_json(output / "stats.json")
    return stats


class Measured(NamedTuple):
    """Statistics of all clips."""

    clips: dict[str, dict[Path, ClipStats]]  # by split, in the order of the names
    unreadable: dict[str, str]


def measure_all(contents: Contents, workers: int) -> Measured:
    """Measure all clips of a root."""
    done: dict[Path, ClipStats | str | WorkerDied] = {}
    paths = contents.all_clips
    results = map_in_processes(measure, paths, workers)
    for path, result in progress_bar(results, total=len(paths), unit="clip"):
        done[path] = result
    clips: dict[str, dict[Path, ClipStats]] = {split: {} for split in contents.clips}
    unreadable: dict[str, str] = {}
    for split, own in contents.clips.items():
        for path in own:
            result = done[path]
            if isinstance(result, ClipStats):
                name = clip_name(path, contents.root / split)
                clips[split][path] = result._replace(name=name, person=identity_of(name))
            else:
                reason = result.detail if isinstance(result, WorkerDied) else result
                unreadable[contents.label(path)] = reason
    return Measured(clips, unreadable)


def split_stats(clips: Sequence[ClipStats]) -> SplitStats:
    """Compute the statistics of the clips of one split."""
    people: dict[str, list[ClipStats]] = {}
    sizes: dict[str, int] = {}
    for clip in clips:
        people.setdefault(clip.person, []).append(clip)
        size = f"{clip.width} x {clip.height}"
        sizes[size] = sizes.get(size, 0) + 1
    seconds = {name: sum(clip.seconds for clip in own) for name, own in people.items()}
    figures: dict[str, list[float]] = {
        name: [value for clip in clips if (value := getattr(clip, name)) is not None]
        for name in TITLES
        if name in ClipStats._fields
    }
    figures["clips_of_person"] = [len(own) for own in people.values()]
    figures["seconds_of_person"] = list(seconds.values())
    return SplitStats(
        clips=len(clips),
        frames=sum(clip.num_frames for clip in clips),
        seconds=round(sum(seconds.values()), 3),
        sizes=dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))),
        people={
            name: Person(clips=len(people[name]), seconds=round(seconds[name], 3))
            for name in sorted(people)
        },
        quantiles={name: quantiles(values) for name, values in figures.items() if values},
    )


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Compute the ``QUANTILES`` of values, with linear interpolation."""
    found = np.quantile(values, list(QUANTILES.values())).round(3).tolist()
    return dict(zip(QUANTILES, found, strict=True))


def clips_table(clips: Mapping[str, Mapping[Path, ClipStats]]) -> str:
    """Format ``clips.csv``, the statistics of every clip."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", *ClipStats._fields])
    for split, own in clips.items():
        for figures in own.values():
            writer.writerow([split, *(round(x, 3) if isinstance(x, float) else x for x in figures)])
    return text.getvalue()
