"""Write frames one at a time to an mp4, a GIF, or a folder of PNG frames.

An output grows under a temporary name in the same folder and is renamed when it is complete; an
exception leaves nothing of it, and an output that cannot be written raises InputError on entering:

    with open_writer("result.mp4", rate=Fraction(25)) as writer:
        writer.write(image)
"""

import glob
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from typing_extensions import Self

from media.audio import AudioCopy
from media.codecs import H264, Gif
from media.pictures import Picture, save_png
from media.provenance import Provenance
from utils.errors import InputError, OutputError
from utils.files import (
    is_system_file,
    link_target,
    remove_leftovers,
    require_folder_of,
    require_writable,
    temporary_path,
)

# Seconds; fine enough for the time stamps of all common rates and containers:
# multiples of 1/90000, 1/12800, 1/15360, 1/24000, 1/30000 and 1/1000 stay exact.
FINE_TICK = Fraction(1, 5_760_000)


def open_writer(
    output: str | Path,
    rate: Fraction,
    audio_from: str | Path | None = None,
    provenance: Provenance | None = None,
) -> "Writer":
    """Choose a writer by the ending of ``output``: .mp4, .gif, or / for a folder.

    Generated frames are written with their ``provenance``.
    """
    if str(output).endswith(("/", os.sep)):
        return FolderWriter(output, provenance)
    return VideoWriter(output, rate, audio_from, provenance)


def require_output(output: str | Path) -> None:
    """Raise InputError, before any work, where ``open_writer`` could not write."""
    open_writer(output, Fraction(1)).require_possible()


class Writer(ABC):
    """Base of all writers: begin under a temporary name, end by renaming or removing."""

    def __init__(self, path: str | Path, provenance: Provenance | None) -> None:
        self.path, self.provenance = Path(path), provenance
        if not self.path.name:
            raise InputError(f"{path} does not name an output: add a name.")
        self.place = link_target(self.path)  # itself, where it is no symbolic link
        self.num_frames = 0  # that the output shows

    def write(self, image: Picture, time: Fraction | None = None) -> None:
        """Add a frame (H, W, 3); ``time`` (seconds from the first) is for variable rates."""
        with self._errors_named():
            self.num_frames += self._add(image, time)

    def require_possible(self) -> None:
        """Raise InputError, before any work, where nothing can be written."""
        require_folder_of(self.path)

    def __enter__(self) -> Self:
        self.require_possible()
        remove_leftovers(self.place.parent, glob.escape(self.place.name))
        self.temporary = temporary_path(self.place)
        with self._errors_named():
            self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                if self.num_frames == 0:
                    raise InputError(f"{self.path} was not written: there was no frame for it.")
                with self._errors_named():
                    self._finish()
        finally:
            self._clean_up()

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}.") from error

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _add(self, image: Picture, time: Fraction | None) -> bool:
        """Write a frame; tell whether the output shows it."""

    @abstractmethod
    def _finish(self) -> None: ...

    @abstractmethod
    def _clean_up(self) -> None: ...


class FolderWriter(Writer):
    """Writer of the frames ``0000000.png``, ... of a folder, in place of earlier ones."""

    def __init__(self, path: str | Path, provenance: Provenance | None = None) -> None:
        super().__init__(path, provenance)

    def require_possible(self) -> None:
        super().require_possible()
        if self.place.exists() and not self._holds_only_frames():
            raise InputError(
                f"{self.path} cannot be written: it holds other things than numbered frames; "
                "name another folder."
            )

    def _holds_only_frames(self) -> bool:
        return self.place.is_dir() and all(
            re.fullmatch(r"\d{7}\.png", entry.name) or is_system_file(entry.name)
            for entry in self.place.iterdir()
        )

    def _begin(self) -> None:
        self.temporary.mkdir()

    def _add(self, image: Picture, time: Fraction | None) -> bool:
        save_png(self.temporary / f"{self.num_frames:07d}.png", image, self.provenance)
        return True

    def _finish(self) -> None:
        if self.place.exists():
            shutil.rmtree(self.place)
        self.temporary.rename(self.place)

    def _clean_up(self) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)


class VideoWriter(Writer):
    """Writer of an mp4 (H.264, even sides) or a GIF.

    The mp4 has exactly the ``rate``, or the ``time`` given with each frame (with all or none),
    and the sound of ``audio_from`` as long as its pictures last.  A GIF has times in 10 ms; frames
    that come within 20 ms of the one before are left out, since viewers would slow them down.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction,
        audio_from: str | Path | None = None,
        provenance: Provenance | None = None,
        *,
        crf: int = 18,
        key_frame_every: int = 12,
        threads: int = 0,
    ) -> None:
        """Choose the encoding; ``threads`` are as many as cores if 0, and change the bits."""
        super().__init__(path, provenance)
        self.format = self.path.suffix.lower().removeprefix(".")
        if self.format not in ("mp4", "gif"):
            raise InputError(f"{self.path} ends neither in .mp4 nor in .gif nor in /: rename it.")
        self.rate = Fraction(rate)
        self.audio_from = audio_from if self.format == "mp4" else None
        self.crf, self.key_frame_every, self.threads = crf, key_frame_every, threads
        self._container: OutputContainer | None = None
        self._sound: AudioCopy | None = None
        self._given = 0  # frames, those that are left out too
        self._next_tick = 0
        self._end = Fraction(0)  # of the last frame, in seconds

    def require_possible(self) -> None:
        require_writable(self.path)

    def _begin(self) -> None:
        self.temporary.touch()

    def _add(self, image: Picture, time: Fraction | None) -> bool:
        if self._container is None:
            self._start(image.shape, timed=time is not None)
        if image.shape != self._shape:
            raise ValueError(f"a frame of {image.shape} came after frames of {self._shape}")
        time = self._given / self.rate if time is None else time
        self._given += 1
        tick = round(time / self._codec.tick)
        if tick < self._next_tick:
            return False
        self._next_tick = tick + self._codec.shortest
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = tick, self._codec.tick
        for converted in self._codec.convert(frame):
            self._encode(converted)
        self._copy_sound(until=time)
        self._end = time + 1 / self.rate
        return True

    def _start(self, shape: tuple[int, ...], timed: bool) -> None:
        height, width, _ = self._shape = shape
        if self.format == "mp4" and (height % 2 or width % 2):
            raise InputError(f"{self.path}: an mp4 needs even sides, not {width} x {height}.")
        self._codec: H264 | Gif = Gif()
        if self.format == "mp4":
            tick = FINE_TICK if timed else 1 / self.rate
            self._codec = H264(tick, self.crf, self.key_frame_every, self.threads, irregular=timed)
        self._container = av.open(f"file:{self.temporary}", "w", format=self.format)
        if self.provenance is not None:
            self._container.metadata.update(self.provenance.metadata)
        self._stream = self._codec.add_stream(self._container, self.rate, height, width)
        if self.audio_from is not None:
            self._sound = AudioCopy(Path(self.audio_from), self._container)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None
        for packet in self._stream.encode(frame):
            packet.duration = round(1 / self.rate / self._codec.tick)  # of the last frame
            self._container.mux(packet)

    def _copy_sound(self, until: Fraction) -> None:
        if self._sound is not None and self._container is not None:
            for packet in self._sound.until(until):
                self._container.mux(packet)

    def _finish(self) -> None:
        assert self._container is not None
        for converted in self._codec.convert(None):
            self._encode(converted)
        self._encode(None)
        self._copy_sound(until=self._end)
        self._container.close()
        if self.provenance is not None:
            self.provenance.finish(self.temporary, self.format)
        self.temporary.replace(self.place)

    def _clean_up(self) -> None:
        if self._sound is not None:
            self._sound.close()
        if self._container is not None:
            with suppress(av.FFmpegError):  # a file of which the writing failed
                self._container.close()
        self.temporary.unlink(missing_ok=True)
