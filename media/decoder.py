"""Read one open video file through PyAV: the index of its frames, and the frames themselves."""

import io
import logging
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import dropwhile, groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition

from media.colours import TRANSFERS
from media.display import Display
from media.file_kinds import PICTURE, InMemoryFile, require_file
from media.gif import MAGIC as GIF_MAGIC
from media.gif import whole_gif
from media.pictures import Picture
from media.timeline import Timeline
from utils.errors import InputError
from utils.wording import counted

SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # to exactly the key frame asked for
# PyAV 19 reads titles in any encoding by default
FOREIGN_TITLES: dict[str, Any] = (
    {} if av.__version__.startswith("19.") else {"metadata_errors": "replace"}
)
SHORTFALL = 0.5  # seconds from the last packet of a whole file to its stated end, at most


class Index(NamedTuple):
    """Index of the frames of a file, known without decoding."""

    times: Sequence[int]  # in ticks, of all frames in the order in which they are shown
    keys: Sequence[int]  # times of the frames at which decoding can begin
    seeks: bool  # whether decoding can begin at one of them

    def key_before(self, time: int) -> int:
        """Find the time at which to begin decoding for the frame at ``time``."""
        return self.keys[max(bisect_right(self.keys, time) - 1, 0)]


# What this process has read, by file and state: 2 kB for 10 s of video
_indices: dict[tuple[str, int, int], Index] = {}
_displays: dict[tuple[str, int, int], Display] = {}
MAX_INDICES = 2**15
Known = TypeVar("Known")

logger = logging.getLogger(__name__)


class VideoFile:
    """Video that players show of a file; damage in it raises InputError, also in mid-stream."""

    def __init__(self, file: Path | InMemoryFile, container: InputContainer) -> None:
        if container.format.name == "tty":  # FFmpeg would show the letters of a text
            raise InputError(f"{file} is a text, not a video: give a video.")
        self.file, self.container = file, container
        self.has_audio = bool(container.streams.audio)
        self.stream = shown_stream(container, file)
        self.stream.thread_type = "NONE"  # for small frames threads cost more than they give
        self.timeline = Timeline(container, self.stream)
        # Fraction(...), since PyAV 19 has a type of its own for fractions
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        # An AVI has no times, and those that FFmpeg makes up are in disorder.  Its frames have the
        # places of its packets, which are empty for frames that were dropped when recording
        self.timed = container.format.name != "avi"
        self.places: list[int] = []  # of the packets so far
        self.tick = Fraction(self.stream.time_base or 1) if self.timed else 1 / self.rate

    def index(self) -> Index:
        """Return the index of the frames; the first call for a file reads it to its end."""
        return _kept(_indices, self.file, self.read_index)

    def start(self) -> Fraction:
        """Time in seconds at which the first frame is shown."""
        return self.index().times[0] * self.tick

    def read_index(self) -> Index:
        """Read the index of the frames anew, without keeping it: for files that are read once.

        Frames at the beginning that cannot be decoded are left out, which is logged: recordings
        that were cut without encoding them again, or joined late, have such frames.
        """
        times: list[int] = []
        keys: list[int] = []
        begin, num_broken = None, 0
        for packet in self._packets():
            if begin is None:
                broken, frames = self._first_whole(packet)
                num_broken += broken
                if frames:
                    begin = self._time(frames[0], num_broken)
            if packet.size:
                time = self._time(packet, len(times))
                if packet.is_keyframe:
                    keys.append(time)
                if not packet.is_discard:  # else an edit list cuts its frame away
                    times.append(time)
        if begin is None:
            raise self._empty()
        times.sort()
        if left_out := bisect_left(times, begin):
            first = "frame" if left_out == 1 else f"{left_out} frames"
            logger.warning(
                "%s: its first %s cannot be decoded; going on without.", self.file, first
            )
        times = times[left_out:]
        is_joined = self.timeline.num_joins > 0  # and the stamps in the file are others
        seeks = self.container.format.name in SEEKABLE and not is_joined
        return Index(array("q", times), array("q", sorted(keys) or times[:1]), seeks)

    def display(self) -> Display:
        """Return how frames are displayed; the first call for a file decodes its first frame."""
        return _kept(_displays, self.file, self._read_display)

    def _read_display(self) -> Display:
        with open_video(self.file) as anew:  # this one may be in the middle of its frames
            _, first = next(anew.decode())
            display = Display.of(anew.stream, first)
        if curve := TRANSFERS.get(display.transfer):
            logger.info("%s is HDR (%s), which is mapped to sRGB.", self.file, curve)
        return display

    def decode(
        self, start: int | None = None, wanted_from: int | None = None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode frames and their times, from the key frame at ``start`` on; at least one.

        Frames before the first complete one are left out, and all before the time ``wanted_from``,
        damaged or not.
        """
        if start is not None:
            self.container.seek(start, stream=self.stream)
        number, begun = 0, False
        for packet in self._packets():
            if begun:
                frames = self._whole(self.stream.decode(packet))
            else:
                broken, frames = self._first_whole(packet)
                number += broken
            for frame in frames:
                time = self._time(frame, number)
                number += 1
                if wanted_from is None or time >= wanted_from:
                    begun = True
                    yield time, frame
        if not begun and wanted_from is None:
            raise self._empty()

    def decode_from(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode the frames from number ``first`` on, and their times; at least one."""
        if first == 0:
            yield from self.decode()
            return
        index = index_of(self.file)
        require_numbers([first], len(index.times), self.file)
        wanted = index.times[first]
        frames = self.decode(index.key_before(wanted) if index.seeks else None, wanted_from=wanted)
        time, frame = next(frames, (None, None))
        if time != wanted or frame is None:
            raise self._damaged(f"its frame {first} is missing")
        yield time, frame
        yield from frames

    def frames_at(self, numbers: Sequence[int]) -> list[Picture]:
        """Read the frames with these numbers as pictures (H, W, 3)."""
        return [self.display().picture(frame) for frame in self.decode_at(numbers)]

    def decode_at(self, numbers: Sequence[int]) -> list[av.VideoFrame]:
        """Decode the frames with these numbers, from the key frames before them if possible."""
        index = index_of(self.file)
        require_numbers(numbers, len(index.times), self.file)
        wanted = [index.times[number] for number in numbers]
        found = self._seek(wanted, index) if index.seeks else self._read_on(wanted)
        if missing := set(wanted) - found.keys():
            raise self._damaged(f"its frame {index.times.index(min(missing))} is missing")
        return [found[time] for time in wanted]

    def _seek(self, wanted: Sequence[int], index: Index) -> dict[int, av.VideoFrame]:
        """Decode the frames at these times, and perhaps others, from key frames."""
        found: dict[int, av.VideoFrame] = {}
        for key, times in groupby(sorted(set(wanted)), index.key_before):
            frames = self._decode_towards(set(times), key)
            found |= {cast(int, frame.pts): frame for frame in frames}
        return found

    def _read_on(self, wanted: Sequence[int]) -> dict[int, av.VideoFrame]:
        """Decode the frames at these times without seeking."""
        found: dict[int, av.VideoFrame] = {}
        missing = set(wanted)
        for time, frame in self.decode(wanted_from=min(wanted)):
            if time in missing:
                found[time] = frame
                missing.remove(time)
            if not missing:
                break
        return found

    def _decode_towards(self, times: set[int], key: int) -> Iterator[av.VideoFrame]:
        """Decode the frames at ``times``, all after one ``key``, and those they depend on."""
        decoder, missing = self.stream.codec_context, set(times)
        self.container.seek(key, stream=self.stream)
        for packet in self._packets():
            if not packet.size:  # the end of the file
                break
            decoder.skip_frame = "DEFAULT" if packet.pts in missing else "NONREF"
            yield from self._whole(self.stream.decode(packet))
            missing.discard(cast(int, packet.pts))
            if not missing:
                break
        decoder.skip_frame = "DEFAULT"
        yield from self._whole(self.stream.decode(None))  # what is held back to be put in order

    def _first_whole(self, packet: "Packet[av.VideoStream]") -> tuple[int, list[av.VideoFrame]]:
        """Decode a packet; return the number of damaged frames, and the complete ones after."""
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError:
            return 1, []
        whole = list(dropwhile(lambda frame: frame.is_corrupt, frames))
        return len(frames) - len(whole), self._whole(whole)

    def _whole(self, frames: list[av.VideoFrame]) -> list[av.VideoFrame]:
        """Return frames.  Raises InputError where one is damaged."""
        if any(frame.is_corrupt for frame in frames):
            raise self._damaged("one of its frames cannot be decoded")
        return frames

    def _packets(self) -> Iterator["Packet[av.VideoStream]"]:
        """Packets of the stream from here to the end; InputError where the file was cut."""
        ends: dict[int, int] = {}  # of the streams, in their ticks
        self.places.clear()
        for packet in self.timeline.packets():
            if packet.is_corrupt:
                raise self._damaged("a part of one of its frames is missing")
            if packet.pts is not None:
                index, end = packet.stream.index, packet.pts + (packet.duration or 0)
                ends[index] = max(end, ends.get(index, end))
            if packet.stream.index == self.stream.index:
                if packet.size and packet.dts is not None:
                    self.places.append(packet.dts)
                yield cast("Packet[av.VideoStream]", packet)
        self._check_end(ends)

    def _check_end(self, ends: dict[int, int]) -> None:
        """Raise InputError for files that were cut without an error of FFmpeg."""
        container = self.container.format.name
        if "matroska" in container and self.container.duration and ends:
            ticks = {stream.index: stream.time_base or 0 for stream in self.container.streams}
            end = max(time * ticks[index] for index, time in ends.items())
            duration = self.container.duration / av.time_base
            if end < duration - SHORTFALL:
                raise self._damaged(f"it ends after {float(end):.1f} of {duration:.1f} s")

    def _time(self, item: "Packet[av.VideoStream] | av.VideoFrame", number: int) -> int:
        if not self.timed:
            return self.places[number]
        if item.pts is None:
            raise InputError(f"{self.file} has frames without times: convert it to an mp4.")
        return item.pts

    def _empty(self) -> InputError:
        kind = self.container.format.name
        if kind.endswith(PICTURE):
            ending = kind.removesuffix(PICTURE)
            return InputError(
                f"{self.file} is a picture, not a video: give it the ending .{ending}."
            )
        return InputError(f"{self.file} holds no frame that can be decoded: give another video.")

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.file} is damaged: {reason}.")


def require_numbers(numbers: Sequence[int], num_frames: int, file: object) -> None:
    """Raise InputError where a file has no frames with these numbers."""
    if not all(0 <= number < num_frames for number in numbers):
        raise InputError(
            f"{file} holds {counted(num_frames, 'frame')}: there is no frame {max(numbers)}."
        )


def _kept(
    known: dict[tuple[str, int, int], Known], file: Path | InMemoryFile, read: Callable[[], Known]
) -> Known:
    """Return what is known of a file in its current state, and read it where nothing is."""
    state = _state(file)
    if state not in known:
        found = read()
        if len(known) >= MAX_INDICES:
            known.clear()
        known[state] = found
    return known[state]


def index_of(file: Path | InMemoryFile) -> Index:
    """Return the index of a file's frames, opening the file again only where it is not known."""
    index = _indices.get(_state(file))
    if index is None:
        with open_video(file) as video:
            index = video.index()
    return index


@contextmanager
def open_video(file: Path | InMemoryFile) -> Iterator[VideoFile]:
    """Open a video file; any error of FFmpeg, now or later, becomes an InputError."""
    if isinstance(file, Path):
        require_file(file, "a video")
    try:
        with open_container(file) as container:
            yield VideoFile(file, container)
    except PermissionError as error:  # FFmpeg's too
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    except av.FFmpegError as error:
        raise InputError(f"{file} is not a video or is damaged: {error.strerror}.") from error


def open_container(file: Path | InMemoryFile) -> InputContainer:
    """Open a media file of any name ("a:b" is no protocol), with titles in any encoding.

    A GIF is cut after its last picture.  Raises InputError where it ends within one.
    """
    media: str | io.BytesIO = f"file:{file}" if isinstance(file, Path) else io.BytesIO(file.data)
    with file.open("rb") if isinstance(file, Path) else io.BytesIO(file.data) as opened:
        beginning = opened.read(len(GIF_MAGIC[0]))
        if beginning in GIF_MAGIC:
            media = io.BytesIO(whole_gif(beginning + opened.read(), file))
    return av.open(media, **FOREIGN_TITLES)


def shown_stream(container: InputContainer, file: Path | InMemoryFile) -> av.VideoStream:
    """Choose the video stream that players show, no attached picture such as an album cover.

    Among several it is the one that FFmpeg ranks best.  Raises InputError where there is none.
    """
    videos = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not videos:
        raise InputError(f"{file} has no video stream: give a file that has one.")
    decoded = [stream for stream in videos if stream.codec_context is not None]
    if not decoded:
        raise InputError(f"{file} has a video that FFmpeg cannot decode: convert it to H.264.")
    best = container.streams.best("video")
    return best if best in decoded else decoded[0]


def _state(file: Path | InMemoryFile) -> tuple[str, int, int]:
    """Identify a file's content by its size and the time of its last change, or its checksum."""
    if isinstance(file, InMemoryFile):
        return file.name, len(file.data), file.checksum
    status = file.stat()
    return str(file), status.st_size, status.st_mtime_ns
