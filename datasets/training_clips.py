"""Clips to train on, from any source: files, decoded frames, or a stream."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from datasets.clips import Split, clip_name, find_clips, identity_of, split_paths
from datasets.config import DataConfig
from datasets.frame_cache import cached_clips
from datasets.records import FACE_CROP, OLD_FACE_CROP, read_face_crop
from datasets.stills import Still, find_stills
from datasets.streaming.storage import local_copy
from media.pictures import Picture


class TrainingClip(Protocol):
    """One shot of one person, wherever its frames are stored."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def num_frames(self) -> int: ...

    def frames(self, numbers: Sequence[int]) -> list[Picture]: ...

    def as_file(self, folder: Path) -> Path:
        """Return a file or folder with all frames, written into ``folder`` where there is none."""
        ...


def training_clips(config: DataConfig, split: Split) -> Sequence[TrainingClip]:
    """Find the clips of a split; files and a stream written from them give the same clips."""
    if config.source == "files":
        clips = find_clips(config, split)
        if config.frame_cache is not None:
            return cached_clips(clips, config.frame_cache, config.frame_size)
        return clips
    from datasets.streaming.reader import streamed_clips  # it needs litdata, which files do not

    return streamed_clips(config, split)


def training_stills(config: DataConfig) -> list[Still]:
    """Find the still pictures to train on, without the people of the test split.

    A person counts as one of the test split even if none of its clips can be read.
    """
    if config.stills is None:
        return []
    if config.source == "files":
        folder, paths = split_paths(config, "test")
        tested = {identity_of(clip_name(path, folder)) for path in paths}
    else:
        tested = {clip.identity for clip in training_clips(config, "test")}
    return find_stills(config.stills.root, tested)


def with_face_crop(data: DataConfig) -> DataConfig:
    """Fill in ``data.face_crop`` from the ``face_crop.json`` of the root, where it is not set.

    Raises InputError where that file is damaged and needed.
    """
    if data.face_crop is not None:
        return data
    with local_copy(data.root, FACE_CROP, OLD_FACE_CROP) as folder:
        return data.model_copy(update={"face_crop": read_face_crop(folder)})
