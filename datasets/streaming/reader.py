"""Read single clips from the shards of a stream, which ``streaming.writer`` writes.

The shards are litdata's.  An item is a clip: its description in JSON, and its file unchanged (a
folder of frames as an uncompressed zip).  ``clips.json`` lists all clips, so that no shard has to
be read for that.
"""

import hashlib
import io
import os
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import NonNegativeInt, PositiveInt, ValidationError

from datasets.clips import Split, identity_of, people_in_split, strip_frames
from datasets.config import DataConfig
from datasets.streaming.storage import (
    StreamError,
    local_copy,
    open_items,
    require_litdata,
    stream_errors,
)
from media.decoder import open_video
from media.file_kinds import InMemoryFile
from media.pictures import Picture, read_image
from utils.errors import InputError
from utils.files import atomic_file
from utils.section import Section

MANIFEST = "clips.json"
GIGABYTE = 10**9


class Entry(Section):
    """Entry of a clip in the list of a stream; its position is the number of the item."""

    name: str
    split: Split | None  # None: split by identity when the stream is read
    form: Literal["video", "strip", "frames"]
    ending: str  # of its file
    num_frames: PositiveInt
    size: NonNegativeInt  # bytes of its file
    checksum: NonNegativeInt  # CRC-32 of them


class Manifest(Section):
    """Content of ``clips.json``, which is written last and makes a stream complete."""

    version: Literal[1] = 1
    clips: tuple[Entry, ...]


class Stream:
    """Open stream, which every process reads through a reader of its own."""

    def __init__(self, root: Path | str, cache: Path, cache_gb: float) -> None:
        """Read the list of clips.  Raises InputError where it or litdata is missing."""
        require_litdata()
        self.root = root
        with local_copy(root, MANIFEST) as folder:
            if not (folder / MANIFEST).is_file():
                raise InputError(
                    f"{root} holds no finished stream, since it has no {MANIFEST}: write one with "
                    "python -m datasets stream."
                )
            manifest = (folder / MANIFEST).read_bytes()
        try:
            self.entries = Manifest.model_validate_json(manifest).clips
        except ValidationError as error:
            raise InputError(f"{root}: {MANIFEST} is damaged: write the stream again.") from error
        self.cache = cache / hashlib.sha256(manifest).hexdigest()[:16]
        # Clips are drawn uniformly, so any choice of those to keep is as good: the first ones
        total_sizes = list(accumulate(entry.size for entry in self.entries))
        num_kept = bisect_right(total_sizes, cache_gb * GIGABYTE)
        self.num_kept = num_kept if isinstance(root, str) else 0
        self._items: Any = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_items": None}

    def read(self, number: int) -> InMemoryFile:
        """Read the file of a clip.  Raises InputError where it is not as it was written."""
        path = self.cache / f"{number}{self.entries[number].ending}"
        if number < self.num_kept and path.is_file():
            with suppress(InputError):  # the copy is damaged, but the stream may not be
                return self._checked(number, path.read_bytes())
        content = self._checked(number, self._fetch(number))
        if number < self.num_kept:
            _keep(path, content.data)
        return content

    def _fetch(self, number: int) -> bytes:
        """Read the bytes of a clip from its shard."""
        items = self.items
        if isinstance(self.root, str):
            with stream_errors(f"{self.root} (clip {self.entries[number].name})"):
                return bytes(items[number][1])
        try:
            return bytes(items[number][1])  # copies a view of a mapped file
        except Exception as error:  # litdata has no error of its own for damaged shards
            raise self._damaged(number) from error

    @property
    def items(self) -> Any:
        """Reader of this process.  Raises StreamError where it cannot be opened."""
        if self._items is None or self._process != os.getpid():
            self._items, self._process = open_items(self.root, self.cache), os.getpid()
        return self._items

    def _checked(self, number: int, data: bytes) -> InMemoryFile:
        entry = self.entries[number]
        if len(data) != entry.size or zlib.crc32(data) != entry.checksum:
            raise self._damaged(number)
        return InMemoryFile(f"{self.root}: {entry.name}{entry.ending}", data, entry.checksum)

    def _damaged(self, number: int) -> InputError:
        name = self.entries[number].name
        return InputError(f"{self.root} is damaged where the clip {name} is: write it again.")


class StreamedClip(NamedTuple):
    """Clip in a stream: one shot of one person."""

    stream: Stream
    number: int
    name: str
    identity: str
    num_frames: int

    @property
    def entry(self) -> Entry:
        """Entry of the clip in the list of the stream."""
        return self.stream.entries[self.number]

    def frames(self, numbers: Sequence[int]) -> list[Picture]:
        """Read the frames with these numbers."""
        content = self.stream.read(self.number)
        if self.entry.form == "video":
            with open_video(content) as video:
                return video.frames_at(numbers)
        if self.entry.form == "strip":
            return strip_frames(read_image(content), numbers)
        with zipfile.ZipFile(io.BytesIO(content.data)) as archive:
            names = [archive.namelist()[number] for number in numbers]
            frames = [InMemoryFile(f"{content}/{name}", archive.read(name), 0) for name in names]
        return [read_image(frame) for frame in frames]

    def as_file(self, folder: Path) -> Path:
        """Write the clip into ``folder``, as the file or folder that it was."""
        path = folder / f"{self.name}{self.entry.ending}"
        content = self.stream.read(self.number)
        if self.entry.form != "frames":
            path.write_bytes(content.data)
            return path
        with zipfile.ZipFile(io.BytesIO(content.data)) as archive:
            archive.extractall(path.with_suffix(""))
        return path.with_suffix("")


def streamed_clips(config: DataConfig, split: Split) -> list[StreamedClip]:
    """Find the clips of a split, the same as ``find_clips`` among the files that were written."""
    root = config.root if isinstance(config.root, Path) else config.root.rstrip("/")
    stream = Stream(root, config.cache, config.cache_gb)
    undivided = [identity_of(entry.name) for entry in stream.entries if entry.split is None]
    people = people_in_split(split, undivided, config) if undivided else set()
    clips = [
        StreamedClip(stream, number, entry.name, identity_of(entry.name), entry.num_frames)
        for number, entry in enumerate(stream.entries)
        if entry.split == split or (entry.split is None and identity_of(entry.name) in people)
    ]
    if not clips:
        raise InputError(f"{config.root} holds no clips for {split}: write a stream that does.")
    return clips


def _keep(path: Path, data: bytes) -> None:
    """Write a copy into the cache, which several processes fill."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise StreamError(
            f"The cache {path.parent} cannot be written ({error.strerror}): lower data.cache_gb, "
            "or set data.cache to another folder."
        ) from error
