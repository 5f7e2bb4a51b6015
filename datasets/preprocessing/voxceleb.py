"""Command ``voxceleb``: make a data set from a metadata table and a folder of raw videos."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from datasets.preprocessing.cutting import ClipFormat, Cut, cut_clips, outcomes_after_death
from datasets.preprocessing.download import Downloader, DownloadError
from datasets.preprocessing.metadata import read_metadata
from datasets.preprocessing.raw_videos import MISSING, find_by_id
from datasets.preprocessing.run import Outcome, Output, Report, Shard, open_output
from utils.files import require_apart
from utils.progress import progress_bar
from utils.worker_pool import map_in_processes

COMMAND = "voxceleb"


class _Job(NamedTuple):
    """Video, and the clips to cut out of it."""

    video: Path
    cuts: list[Cut]


def prepare(
    metadata: Path,
    videos: Path,
    root: Path,
    form: ClipFormat,
    *,
    workers: int,
    shard: Shard,
    downloader: Downloader | None = None,
) -> Report:
    """Cut the clips of the shard's rows of a table into ``root``; existing clips are kept.

    A video belongs to one shard with all its rows.  Raises InputError where nothing can begin, and
    OutputError where clips cannot be written, for example on a full disk.
    """
    form.check()
    require_apart(root, metadata, videos)
    table, found = read_metadata(metadata), find_by_id(videos)
    digest = hashlib.sha256(metadata.read_bytes()).hexdigest()
    cuts = dict(shard.select(table.cuts.items()))
    outcomes = list(table.problems) if shard.number == 1 else []
    settings: dict[str, JsonValue] = dict(form._asdict())
    with open_output(root, COMMAND, settings, shard) as output:
        total = sum(map(len, cuts.values()))
        with progress_bar(total=total, unit="clip") as bar:

            def add(new: list[Outcome]) -> None:
                outcomes.extend(new)
                bar.update(len(new))

            def jobs() -> Iterator[_Job]:
                """Yield the videos that exist, then the others as they are downloaded."""
                here = [video for video in cuts if video in found]
                yield from (_Job(found[video], cuts[video]) for video in here)
                for video, own in cuts.items():
                    if video in found:
                        continue
                    if all(form.path(root, cut).exists() for cut in own):
                        add([cut.outcome() for cut in own])
                    elif downloader is None:
                        add([cut.outcome(MISSING) for cut in own])
                    elif isinstance(fetched := downloader.fetch(video), DownloadError):
                        add([cut.outcome(fetched.kind, fetched.reason) for cut in own])
                    else:
                        yield _Job(fetched, own)

            def died(job: _Job) -> list[Outcome]:
                return outcomes_after_death(job.cuts, form, output)

            for _, new in map_in_processes(partial(_cut, form, output), jobs(), workers, died):
                add(new)
    return Report.of(COMMAND, settings | {"metadata": digest}, shard, outcomes)


def _cut(form: ClipFormat, output: Output, job: _Job) -> list[Outcome]:
    return cut_clips(job.video, job.cuts, form, output)
