"""The command ``videos``: any folder of talking videos becomes a data set.

Each video is looked through first, which is kept in a hidden file of the root: where its scenes are
cut, and the faces seen in them.  Then the clips of those who are alone in a scene are cut out.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from datasets.clips import people_of
from datasets.config import DataConfig
from datasets.preprocessing.cutting import UNREADABLE, Cut, Form, Output, cut_clips, what_is_left
from datasets.preprocessing.report import Outcome, Report, Shard
from datasets.preprocessing.run import begun
from datasets.preprocessing.scene_scan import SceneScan, footage, kept_footage
from datasets.preprocessing.sources import Source, find_sources
from datasets.preprocessing.tracks import Limits, segments
from faces.detectors import DetectorName, FaceDetector, pick_detector
from utils.errors import InputError, OutputError
from utils.files import require_apart
from utils.progress import progress_bar
from utils.worker_pool import WORKER_DIED, WorkerDied, map_in_processes

COMMAND = "videos"
FOOTAGE = ".footage"  # folder in the root: what is in the videos


class _Job(NamedTuple):
    """A video and where its clips belong."""

    source: Source
    split: str
    size: int  # of the file, in bytes


class _Plan(NamedTuple):
    """What is done with every video."""

    detector: DetectorName
    limits: Limits
    form: Form
    output: Output

    @property
    def folder(self) -> Path:
        return self.output.root / FOOTAGE


def prepare(
    folder: Path,
    root: Path,
    form: Form,
    *,
    limits: Limits,
    identity: str,
    detector: DetectorName,
    test_share: float,
    seed: int,
    workers: int,
    shard: Shard,
) -> Report:
    """Cuts the clips of the shard's videos into ``root``; what is there already is kept.

    Raises InputError where nothing can begin, and OutputError where clips cannot be written.
    """
    form.check()
    require_apart(root, folder, None if identity in ("folder", "file") else identity)
    if limits.max_seconds < 2 * limits.min_seconds:
        raise InputError(
            f"Halves of clips of {limits.max_seconds:g} s would be shorter than "
            f"{limits.min_seconds:g} s: give a --max-seconds of twice --min-seconds or more."
        )
    sources, problems = find_sources(folder, identity)
    people = sorted({source.person for source in sources})
    test = _for_test(people, folder, test_share, seed)
    name = pick_detector(detector).name  # here, so that one process downloads it
    settings: dict[str, JsonValue] = {
        **form._asdict(),
        **limits._asdict(),
        "detector": name,
        "test_share": test_share,
        "seed": seed,
        "people": hashlib.sha256("\n".join(people).encode()).hexdigest(),  # others split otherwise
    }
    jobs = [
        _Job(source, "test" if source.person in test else "train", source.path.stat().st_size)
        for position, source in enumerate(sources)
        if shard.segments(position)
    ]
    outcomes = problems if shard.number == 1 else []
    with begun(root, COMMAND, settings, shard) as output:
        plan = _Plan(name, limits, form, output)
        with progress_bar(total=sum(job.size for job in jobs), unit="B", unit_scale=True) as bar:
            for job, result in map_in_processes(partial(_prepare, plan), jobs, workers):
                outcomes += _left(plan, job, result) if isinstance(result, WorkerDied) else result
                bar.update(job.size)
    return Report.of(COMMAND, settings, shard, outcomes)


def _for_test(people: Sequence[str], folder: Path, share: float, seed: int) -> set[str]:
    if len(people) < 2:
        raise InputError(
            f"The videos in {folder} show one person only ({people[0]}), and people are split into "
            "train and test: make a folder for each person, or give --identity."
        )
    return people_of("test", people, DataConfig(root=folder, test_share=share, split_seed=seed))


def _prepare(plan: _Plan, job: _Job) -> list[Outcome]:
    """What became of a video: of its clips, and of the scenes that gave none."""
    try:
        found = footage(job.source.path, _detector(plan.detector), plan.folder)
    except OutputError:
        raise
    except (InputError, OSError) as error:  # it may have gone meanwhile
        return [Outcome(job.source.name, job.split, UNREADABLE, str(error))]
    cuts, dropped = _cuts(plan, job, found)
    return dropped + cut_clips(job.source.path, cuts, plan.form, plan.output)


@lru_cache(maxsize=1)
def _detector(name: DetectorName) -> FaceDetector:
    return pick_detector(name)


def _cuts(plan: _Plan, job: _Job, found: SceneScan) -> tuple[list[Cut], list[Outcome]]:
    """The clips to be cut out of a video, and why the rest of it gives none."""
    width, height = found.size
    cuts, dropped = [], []
    for scene in found.scenes:
        for take in segments(scene, found.size, plan.limits):
            name = f"{job.source.name}#{take.start:06d}#{take.end:06d}"
            if take.reason is not None:
                dropped.append(Outcome(name, job.split, take.reason))
            elif take.crop is not None:
                box = take.crop.scaled(1 / width, 1 / height)
                cuts.append(Cut(name, job.split, take.start, take.end, box))
    return cuts, dropped


def _left(plan: _Plan, job: _Job, died: WorkerDied) -> list[Outcome]:
    """What a worker that died has left of a video: its clips that are complete, and the others."""
    found = kept_footage(job.source.path, plan.detector, plan.folder)
    if found is None:
        return [Outcome(job.source.name, job.split, WORKER_DIED, died.detail)]
    cuts, dropped = _cuts(plan, job, found)
    return dropped + what_is_left(cuts, plan.form, plan.output, died)
