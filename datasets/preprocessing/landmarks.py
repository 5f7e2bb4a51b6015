"""Command ``landmarks``: detect the facial landmarks of every clip or picture in a root.

``datasets.landmark_files`` describes the files that are written.
"""

import io
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue

from datasets.clips import CLIP_SUFFIXES, iterate_frames, possible_clips, split_folders
from datasets.contents import without_path
from datasets.landmark_files import read_landmarks
from datasets.preprocessing.run import Outcome, Report, Shard, open_output
from faces.landmarks import FaceAlignmentLandmarks, NamedLandmarks
from media.pictures import PICTURE_SUFFIXES, Picture
from utils.errors import InputError, OutputError
from utils.files import write_atomically
from utils.progress import progress_bar
from utils.worker_pool import DIED, WORKER_DIED, map_in_processes

COMMAND = "landmarks"
UNREADABLE = "unreadable"
FACELESS = "no face in any frame"  # reported, and written all the same
BATCH = 16  # frames for one call of the detector

MakeDetector = Callable[[], NamedLandmarks]  # function of a module, which processes find by name


class _Job(NamedTuple):
    """Clip or picture, and its split ("" where the root has none)."""

    path: Path
    split: str
    name: str  # path in its split

    def outcome(self, reason: str | None = None, detail: str = "") -> Outcome:
        return Outcome(self.name, self.split, reason, detail)

    def landmarks(self, folder: Path) -> Path:
        """Return the path of its landmarks in a folder of them."""
        return folder / self.split / f"{self.name}.npy"


def face_alignment() -> NamedLandmarks:
    """Make face-alignment's detector, on the GPU where there is one.

    Raises DetectorUnavailable.
    """
    import torch

    return FaceAlignmentLandmarks("cuda" if torch.cuda.is_available() else "cpu")


def prepare(
    root: Path,
    folder: Path,
    *,
    workers: int,
    shard: Shard,
    make_detector: MakeDetector = face_alignment,
) -> Report:
    """Write the landmarks of the shard's clips into ``folder``; existing files are kept.

    Raises InputError where nothing can begin, and OutputError where files cannot be written.
    """
    jobs = find_jobs(root)
    splits = split_folders(root).values()
    if any(folder.resolve().is_relative_to(split.resolve()) for split in splits):
        raise InputError(f"{folder} is among the clips: name another --output.")
    jobs = shard.select(jobs)
    name = make_detector().name  # here, so that one process downloads its weights
    settings: dict[str, JsonValue] = {"root": str(root.resolve()), "detector": name}
    with open_output(folder, COMMAND, settings, shard):
        for job in jobs:
            job.landmarks(folder).parent.mkdir(parents=True, exist_ok=True)
        work = partial(_write, make_detector, folder)
        results = map_in_processes(work, jobs, workers, lambda job: job.outcome(WORKER_DIED, DIED))
        outcomes = [new for _, new in progress_bar(results, total=len(jobs), unit="clip")]
    return Report.of(COMMAND, settings, shard, outcomes)


def find_jobs(root: Path) -> list[_Job]:
    """Find the clips and pictures of a root, in the order of their names.  Raises InputError."""
    jobs = [
        _Job(path, split or "", str(path.relative_to(folder)))
        for split, folder in split_folders(root).items()
        for path in possible_clips(folder, CLIP_SUFFIXES | PICTURE_SUFFIXES)
    ]
    if not jobs:
        raise InputError(f"{root} holds no clips or pictures: name a folder that does.")
    return jobs


def _write(make_detector: MakeDetector, folder: Path, job: _Job) -> Outcome:
    """Write the landmarks of one clip, where they do not exist yet, and return the outcome."""
    path = job.landmarks(folder)
    try:
        if not path.is_file():
            content = io.BytesIO()
            found = find_landmarks(job.path, _detector(make_detector))
            np.save(content, found.astype(np.float16))
            write_atomically(path, content.getvalue())
        landmarks = read_landmarks(path)
    except OutputError:
        raise
    except (InputError, OSError) as error:
        return job.outcome(UNREADABLE, without_path(error, job.path))
    return job.outcome(FACELESS if np.isnan(landmarks).all() else None)


@lru_cache(maxsize=1)
def _detector(make_detector: MakeDetector) -> NamedLandmarks:
    return make_detector()


def find_landmarks(path: Path, detector: NamedLandmarks) -> np.ndarray:
    """Detect the landmarks in all frames of a clip or picture: (T, 68, 2), NaN without a face.

    Raises InputError where it is unreadable.
    """
    found: list[np.ndarray] = []
    batch: list[Picture] = []
    for frame in iterate_frames(path):
        if len(batch) == BATCH:
            found.append(detector(batch))
            batch = []
        batch.append(frame)
    return np.concatenate([*found, detector(batch)])
