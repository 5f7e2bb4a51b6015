"""The command ``voxceleb``: a metadata table and a folder of raw videos become a data set."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from datasets.preprocessing.cutting import Cut, Form, Output, cut_clips, what_is_left
from datasets.preprocessing.download import Dead, Downloader
from datasets.preprocessing.metadata import read_metadata
from datasets.preprocessing.raw_videos import find_raw_videos
from datasets.preprocessing.report import Outcome, Report, Shard
from datasets.preprocessing.run import begun
from utils.files import require_apart
from utils.progress import progress_bar
from utils.worker_pool import WorkerDied, map_in_processes

COMMAND = "voxceleb"
MISSING = "missing video"


class _Job(NamedTuple):
    """A video with all that is to be cut out of it."""

    video: Path
    cuts: list[Cut]


def prepare(
    metadata: Path,
    videos: Path,
    root: Path,
    form: Form,
    *,
    workers: int,
    shard: Shard,
    downloader: Downloader | None = None,
) -> Report:
    """Cuts the shard's rows of a table into ``root``; what is there already is kept.

    A video belongs to one shard with all its rows.  Raises InputError where nothing can begin, and
    OutputError where clips cannot be written, full disks among it.
    """
    form.check()
    require_apart(root, metadata, videos)
    table, found = read_metadata(metadata), find_raw_videos(videos)
    digest = hashlib.sha256(metadata.read_bytes()).hexdigest()
    cuts = {video: own for i, (video, own) in enumerate(table.cuts.items()) if shard.segments(i)}
    outcomes = list(table.problems) if shard.number == 1 else []
    settings: dict[str, JsonValue] = dict(form._asdict())
    with begun(root, COMMAND, settings, shard) as output:
        total = sum(map(len, cuts.values()))
        with progress_bar(total=total, unit="clip") as bar:

            def tell(told: list[Outcome]) -> None:
                outcomes.extend(told)
                bar.update(len(told))

            def jobs() -> Iterator[_Job]:
                """Videos that are there, then those that have to come, as they do."""
                here = [video for video in cuts if video in found]
                yield from (_Job(found[video], cuts[video]) for video in here)
                for video, own in cuts.items():
                    if video in found:
                        continue
                    if all(output.clip(cut, form).exists() for cut in own):
                        tell([cut.outcome() for cut in own])
                    elif downloader is None:
                        tell([cut.outcome(MISSING) for cut in own])
                    elif isinstance(fetched := downloader.fetch(video), Dead):
                        tell([cut.outcome(fetched.kind, fetched.reason) for cut in own])
                    else:
                        yield _Job(fetched, own)

            for job, result in map_in_processes(partial(_cut, form, output), jobs(), workers):
                if isinstance(result, WorkerDied):
                    tell(what_is_left(job.cuts, form, output, result))
                else:
                    tell(result)
    return Report.of(COMMAND, settings | {"metadata": digest}, shard, outcomes)


def _cut(form: Form, output: Output, job: _Job) -> list[Outcome]:
    return cut_clips(job.video, job.cuts, form, output)
