"""Command ``videos``: make a data set from any folder of talking videos.

Each video is scanned first for its scenes and the faces in them; the scan is kept in a hidden
folder of the root.  Then clips of the people who are alone in a scene are cut out.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from datasets.clips import people_in_split
from datasets.config import DataConfig
from datasets.preprocessing.cutting import (
    UNREADABLE,
    ClipFormat,
    Cut,
    cut_clips,
    outcomes_after_death,
)
from datasets.preprocessing.raw_videos import Source, find_by_person
from datasets.preprocessing.run import Outcome, Output, Report, Shard, open_output
from datasets.preprocessing.scene_scan import SceneScan, cached_scan, scan_video
from datasets.preprocessing.tracks import Limits, find_segments
from faces.detectors import DetectorName, FaceDetector, pick_detector
from utils.errors import InputError, OutputError
from utils.files import require_apart
from utils.progress import progress_bar
from utils.worker_pool import DIED, WORKER_DIED, map_in_processes

COMMAND = "videos"
SCANS, OLD_SCANS = ".scene_scans", ".footage"  # folder in the root; its name in earlier versions


class _Job(NamedTuple):
    """Video, and the split of its clips."""

    source: Source
    split: str
    size: int  # of the file, in bytes


class _Plan(NamedTuple):
    """Settings for the work on every video."""

    detector: DetectorName
    limits: Limits
    form: ClipFormat
    output: Output
    scans: Path


def prepare(
    folder: Path,
    root: Path,
    form: ClipFormat,
    *,
    limits: Limits,
    identity: str,
    detector: DetectorName,
    test_share: float,
    seed: int,
    workers: int,
    shard: Shard,
) -> Report:
    """Cut the clips of the shard's videos into ``root``; existing clips are kept.

    Raises InputError where nothing can begin, and OutputError where clips cannot be written.
    """
    form.check()
    require_apart(root, folder, None if identity in ("folder", "file") else identity)
    if limits.max_seconds < 2 * limits.min_seconds:
        raise InputError(
            f"Halves of clips of {limits.max_seconds:g} s would be shorter than "
            f"{limits.min_seconds:g} s: give a --max-seconds of twice --min-seconds or more."
        )
    sources, problems = find_by_person(folder, identity)
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
        for source in shard.select(sources)
    ]
    outcomes = problems if shard.number == 1 else []
    scans = root / (OLD_SCANS if (root / OLD_SCANS).is_dir() else SCANS)
    with open_output(root, COMMAND, settings, shard) as output:
        plan = _Plan(name, limits, form, output, scans)
        with progress_bar(total=sum(job.size for job in jobs), unit="B", unit_scale=True) as bar:
            work, died = partial(_prepare, plan), partial(_after_death, plan)
            for job, new in map_in_processes(work, jobs, workers, died):
                outcomes += new
                bar.update(job.size)
    return Report.of(COMMAND, settings, shard, outcomes)


def _for_test(people: Sequence[str], folder: Path, share: float, seed: int) -> set[str]:
    if len(people) < 2:
        raise InputError(
            f"The videos in {folder} show one person only ({people[0]}), and people are split into "
            "train and test: make a folder for each person, or give --identity."
        )
    config = DataConfig(root=folder, test_share=share, split_seed=seed)
    return people_in_split("test", people, config)


def _prepare(plan: _Plan, job: _Job) -> list[Outcome]:
    """Scan a video and cut its clips; return their outcomes, and those of scenes without any."""
    try:
        scan = scan_video(job.source.path, _detector(plan.detector), plan.scans)
    except OutputError:
        raise
    except (InputError, OSError) as error:  # the file may have been deleted meanwhile
        return [Outcome(job.source.name, job.split, UNREADABLE, str(error))]
    cuts, dropped = _cuts(plan, job, scan)
    return dropped + cut_clips(job.source.path, cuts, plan.form, plan.output)


@lru_cache(maxsize=1)
def _detector(name: DetectorName) -> FaceDetector:
    return pick_detector(name)


def _cuts(plan: _Plan, job: _Job, scan: SceneScan) -> tuple[list[Cut], list[Outcome]]:
    """Choose the clips to cut out of a video, and return the outcomes of its other segments."""
    width, height = scan.size
    cuts, dropped = [], []
    for scene in scan.scenes:
        for segment in find_segments(scene, scan.size, plan.limits):
            name = f"{job.source.name}#{segment.start:06d}#{segment.end:06d}"
            if segment.reason is not None:
                dropped.append(Outcome(name, job.split, segment.reason))
            elif segment.crop is not None:
                box = segment.crop.scaled(1 / width, 1 / height)
                cuts.append(Cut(name, job.split, segment.start, segment.end, box))
    return cuts, dropped


def _after_death(plan: _Plan, job: _Job) -> list[Outcome]:
    """Return the outcomes of a video whose process died, some clips of which may be complete."""
    scan = cached_scan(job.source.path, plan.detector, plan.scans)
    if scan is None:
        return [Outcome(job.source.name, job.split, WORKER_DIED, DIED)]
    cuts, dropped = _cuts(plan, job, scan)
    return dropped + outcomes_after_death(cuts, plan.form, plan.output)
