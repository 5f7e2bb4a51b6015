"""Clips cut out of a raw video: of any size and rate, in one pass over the file for all of them.

Frame n at 25 frames a second is the one that the video shows at (n + 1/2) / 25 s, the middle of the
time for which frame n stands: so does FFmpeg round, by which VoxCeleb's clips were first cut.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

import av
from typing_extensions import Self

from datasets.preprocessing.crop_filter import CropFilter
from datasets.preprocessing.report import Outcome
from datasets.records import Record
from media.decoder import Index, open_video
from media.display import Display
from media.pictures import Box
from media.writers import FolderWriter, VideoWriter, Writer
from utils.errors import InputError, OutputError
from utils.files import flush, printable, write_atomically
from utils.wording import counted
from utils.worker_pool import WORKER_DIED, WorkerDied

RATE = 25  # frames a second of prepared clips
CRF = 14  # of H.264: loses less than the colours of every fourth pixel do
MAX_AT_ONCE = 32  # clips that one process writes: each has an encoder, of some 10 MB
BEYOND_END, UNREADABLE = "beyond the end of the video", "unreadable video"


class Cut(NamedTuple):
    """A clip to be cut out of a video."""

    name: str  # person#video#start#end, without an ending
    split: str  # train or test
    start: int  # frame at 25 frames a second
    end: int  # the first frame after it
    box: Box  # as fractions of the video's width and height
    stated: Box | None = None  # what the box was before the edges of the video cut it

    def outcome(self, reason: str | None = None, detail: str = "") -> Outcome:
        return Outcome(self.name, self.split, reason, detail)


class Form(NamedTuple):
    """How clips are written."""

    geometry: Literal["published", "square"] = "published"  # boxes as they are, or made square
    size: int = 256  # width and height of the frames
    format: Literal["mp4", "png"] = "mp4"

    def check(self) -> None:
        """Raises InputError where no clip can be written so."""
        if self.format == "mp4" and self.size % 2:
            raise InputError(
                f"H.264 has even sides only: give an even --size instead of {self.size}, or "
                "--format png."
            )


class Output(NamedTuple):
    """A data set that grows: a clip is at its place only when it is complete."""

    root: Path
    work: Path  # a folder of this run alone, on the disk of ``root``

    def clip(self, cut: Cut, form: Form) -> Path:
        """The place of a clip: a file, or a folder of PNG frames."""
        ending = ".mp4" if form.format == "mp4" else ""
        return self.root / cut.split / f"{cut.name}{ending}"


def cut_clips(video: Path, cuts: Sequence[Cut], form: Form, output: Output) -> list[Outcome]:
    """Cuts what is not yet there, and says of every cut what became of it.

    Raises OutputError where clips cannot be written.
    """
    outcomes: list[Outcome] = []
    left: list[Cut] = []
    for cut in cuts:
        if output.clip(cut, form).exists():
            outcomes.append(cut.outcome())
        else:
            left.append(cut)
    if not left:
        return outcomes
    try:
        raw = RawVideo.open(video)
    except InputError as error:
        return outcomes + [cut.outcome(UNREADABLE, str(error)) for cut in left]
    within = [cut for cut in left if cut.end <= raw.num_frames]
    detail = f"{video.name} has {counted(raw.num_frames, 'frame')} at {RATE} frames/s"
    outcomes += [cut.outcome(BEYOND_END, detail) for cut in left if cut.end > raw.num_frames]
    for together in raw.passes(within):
        outcomes += _cut_together(raw, together, form, output)
    return outcomes


def what_is_left(
    cuts: Sequence[Cut], form: Form, output: Output, died: WorkerDied
) -> list[Outcome]:
    """The outcomes of clips whose process died: some may be there all the same."""
    return [
        cut.outcome() if output.clip(cut, form).exists() else cut.outcome(WORKER_DIED, died.detail)
        for cut in cuts
    ]


@dataclass(frozen=True)
class RawVideo:
    """A video whose frames are asked for by their number at 25 a second."""

    path: Path
    index: Index
    display: Display
    rate: Fraction  # frames a second; the average where it varies
    tick: Fraction  # seconds

    @classmethod
    def open(cls, path: Path) -> "RawVideo":
        """Raises InputError where it is unreadable, or damaged so that its end is not known."""
        with open_video(path) as video:
            index = video.read_index()
            return cls(path, index, video.display(), video.rate, video.tick)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame as it is to be seen, in pixels."""
        height, width = self.display.size
        return width, height

    @property
    def num_frames(self) -> int:
        """How many frames it has at 25 a second."""
        times = self.index.times
        seconds = (times[-1] - times[0]) * self.tick + 1 / self.rate
        return max(round(seconds * RATE), 1)

    def time(self, number: int) -> int:
        """The time, in ticks, of the frame that is shown as frame ``number``."""
        times = self.index.times
        middle = times[0] + Fraction(2 * number + 1, 2 * RATE) / self.tick
        return times[max(bisect_left(times, middle) - 1, 0)]

    def passes(self, cuts: Sequence[Cut]) -> Iterator[list[Cut]]:
        """Cuts that lie so close together that decoding them in one go is shortest.

        Of cuts that overlap, only as many as can be written at once.
        """
        together: list[Cut] = []
        later: list[Cut] = []
        ends: list[int] = []  # of the cuts that overlap
        until = self.index.times[0]
        for cut in sorted(cuts, key=lambda cut: (cut.start, cut.end, cut.name)):
            ends = [end for end in ends if end > cut.start]
            if len(ends) == MAX_AT_ONCE:
                later.append(cut)
                continue
            ends.append(cut.end)
            if (
                together
                and self.index.seeks
                and self.index.key_before(self.time(cut.start)) > until
            ):
                yield together
                together = []
            until = max(until, self.time(cut.end - 1))
            together.append(cut)
        if together:
            yield together
        if later:
            yield from self.passes(later)

    def frames(self, first: int, last: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames shown from number ``first`` to ``last``, with their times in ticks."""
        begin, end = self.time(first), self.time(last)
        with open_video(self.path) as video:
            for time, frame in video.decode(
                self.index.key_before(begin) if self.index.seeks else None
            ):
                if time >= begin:
                    yield time, frame
                if time >= end:
                    return


def _cut_together(raw: RawVideo, cuts: Sequence[Cut], form: Form, output: Output) -> list[Outcome]:
    """Decodes once for all cuts; damage costs those that are not complete when it is met."""
    waiting = deque(_Clip(cut, raw, form, output) for cut in cuts)
    growing: list[_Clip] = []
    outcomes: list[Outcome] = []
    last = max(cut.end for cut in cuts) - 1
    with ExitStack() as stack:
        try:
            for time, frame in raw.frames(cuts[0].start, last):
                while waiting and waiting[0].times[0] <= time:
                    growing.append(stack.enter_context(waiting.popleft()))
                for clip in growing:
                    clip.add(time, frame)
                outcomes += [clip.finish() for clip in growing if clip.times[-1] <= time]
                growing = [clip for clip in growing if clip.times[-1] > time]
            detail = f"{raw.path} ends before the clip does."
        except OutputError:
            raise
        except InputError as error:
            detail = str(error)
    return outcomes + [clip.cut.outcome(UNREADABLE, detail) for clip in [*growing, *waiting]]


def rounded(box: Box) -> Box:
    """A box to the thousandth of a pixel."""
    return Box(*(round(side, 3) for side in box))


class _Clip:
    """One clip on its way: entered before its first frame, and left behind if never finished."""

    def __init__(self, cut: Cut, raw: RawVideo, form: Form, output: Output) -> None:
        self.cut, self.raw, self.form = cut, raw, form
        self.times = [raw.time(number) for number in range(cut.start, cut.end)]
        self.counts = Counter(self.times)  # how often each frame is shown
        width, height = raw.size
        box = cut.box.scaled(width, height)
        self.box = box.squared(width, height) if form.geometry == "square" else box
        self.region = CropFilter(self.box, raw.display, form.size)
        self.place = output.clip(cut, form)
        self.grown = output.work / self.place.name
        self.writer: Writer = FolderWriter(self.grown)
        if form.format == "mp4":
            # one thread: every core has a process, and its number of threads would change the bits
            self.writer = VideoWriter(self.grown, Fraction(RATE), crf=CRF, threads=1)

    def __enter__(self) -> Self:
        self.writer.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.writer.num_frames < len(self.times):
            self.writer.__exit__(InputError)

    def add(self, time: int, frame: av.VideoFrame) -> None:
        """Adds the frame of a time as often as the clip shows it."""
        if times := self.counts[time]:
            picture = self.region(frame)
            for _ in range(times):
                self.writer.write(picture)

    def finish(self) -> Outcome:
        """Brings the clip to its place; first its record, so that the clip is there last."""
        if self.writer.num_frames < len(self.times):
            detail = f"{len(self.times) - self.writer.num_frames} of its frames are missing"
            return self.cut.outcome(UNREADABLE, detail)
        self.writer.__exit__(None)
        try:
            for path in [*self.grown.glob("*.png"), self.grown]:
                flush(path)
            self.place.parent.mkdir(exist_ok=True)
            record = self.place.with_name(f"{self.cut.name}.json")
            write_atomically(record, self.record().model_dump_json(indent=1) + "\n")
            self.grown.rename(self.place)
        except OSError as error:
            raise OutputError(f"{self.place} cannot be written: {error.strerror}.") from error
        return self.cut.outcome()

    def record(self) -> Record:
        return Record(
            video=printable(self.raw.path.name),
            frames=(self.cut.start, self.cut.end),
            video_size=self.raw.size,
            video_rate=str(self.raw.rate),
            geometry=self.form.geometry,
            box=rounded(self.box),
            box_stated=self.cut.stated and rounded(self.cut.stated.scaled(*self.raw.size)),
            aspect=round(self.box.height / self.box.width, 4),
            size=(self.form.size, self.form.size),
        )
