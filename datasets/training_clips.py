"""The clips that pairs are drawn from, whether they are files or lie in a stream."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from datasets.clips import Split, clip_name, find_clips, identity_of, split_paths
from datasets.config import DataConfig
from datasets.frame_cache import cached_clips
from datasets.records import FACE_CROP, read_face_crop
from datasets.stills import Still, find_stills
from datasets.streaming.storage import local_copy
from media.pictures import Picture


class TrainingClip(Protocol):
    """One shot of one person, wherever its frames are."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def num_frames(self) -> int: ...

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """The frames with these numbers.  Raises InputError where they cannot be read."""
        ...

    def as_file(self, folder: Path) -> Path:
        """A file or folder with all frames, made in ``folder`` where there is none."""
        ...


def training_clips(config: DataConfig, split: Split) -> Sequence[TrainingClip]:
    """The clips of a split, the same from files and from a stream that was written of them."""
    if config.source == "files":
        clips = find_clips(config, split)
        if config.frame_cache is not None:
            return cached_clips(clips, config.frame_cache, config.frame_size)
        return clips
    from datasets.streaming.reader import streamed_clips  # which needs a package that files do not

    return streamed_clips(config, split)


def training_stills(config: DataConfig) -> list[Still]:
    """The still pictures to train on; never of a person in the test split, unreadable or not."""
    if config.stills is None:
        return []
    if config.source == "files":
        folder, paths = split_paths(config, "test")
        tested = {identity_of(clip_name(path, folder)) for path in paths}
    else:
        tested = {clip.identity for clip in training_clips(config, "test")}
    return find_stills(config.stills.root, tested)


def with_face_crop(data: DataConfig) -> DataConfig:
    """The section with the geometry of its frames in it, where that is known.

    What the configuration says comes before what ``geometry.json`` says in the root.  Raises
    InputError where that file is damaged and needed.
    """
    if data.face_crop is not None:
        return data
    with local_copy(data.root, FACE_CROP) as folder:
        return data.model_copy(update={"face_crop": read_face_crop(folder)})
