"""Cut clips out of a raw video of any size and rate, in one pass over the file for all of them.

Frame n at 25 frames a second is the one that the video shows at (n + 1/2) / 25 s, in the middle of
the time of frame n: FFmpeg, by which VoxCeleb's clips were first cut, rounds in the same way.
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
from datasets.preprocessing.run import Outcome, Output
from datasets.records import Boxes, ClipRecord
from media.decoder import Index, open_video
from media.display import Display
from media.pictures import Box
from media.writers import FolderWriter, VideoWriter, Writer
from utils.errors import InputError, OutputError
from utils.files import flush, naming_errors, printable
from utils.wording import counted
from utils.worker_pool import DIED, WORKER_DIED

RATE = 25  # frames a second of prepared clips
CRF = 14  # of H.264: loses less than storing colours at a quarter of the pixels does
BEYOND_END, UNREADABLE = "beyond the end of the video", "unreadable video"


class Cut(NamedTuple):
    """Clip to be cut out of a video."""

    name: str  # person#video#start#end, without an ending
    split: str  # train or test
    start: int  # frame at 25 frames a second
    end: int  # the first frame after it
    box: Box  # as fractions of the video's width and height
    stated: Box | None = None  # the box of the table, where the edges of the video cut it

    def outcome(self, reason: str | None = None, detail: str = "") -> Outcome:
        return Outcome(self.name, self.split, reason, detail)


class ClipFormat(NamedTuple):
    """Options of the clips that are written."""

    boxes: Boxes = "published"
    size: int = 256  # width and height of the frames
    format: Literal["mp4", "png"] = "mp4"

    def check(self) -> None:
        """Raise InputError where no clip can be written in this format."""
        if self.format == "mp4" and self.size % 2:
            raise InputError(
                f"H.264 has even sides only: give an even --size instead of {self.size}, or "
                "--format png."
            )

    def path(self, root: Path, cut: Cut) -> Path:
        """Return the place of a clip: a file, or a folder of PNG frames."""
        return root / cut.split / f"{cut.name}{'.mp4' if self.format == 'mp4' else ''}"


def cut_clips(video: Path, cuts: Sequence[Cut], form: ClipFormat, output: Output) -> list[Outcome]:
    """Cut the clips that do not exist yet, and return the outcomes of all.

    Raises OutputError where clips cannot be written.
    """
    left = [cut for cut in cuts if not form.path(output.root, cut).exists()]
    outcomes = [cut.outcome() for cut in cuts if cut not in left]
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


def outcomes_after_death(cuts: Sequence[Cut], form: ClipFormat, output: Output) -> list[Outcome]:
    """Return the outcomes of clips whose process died, some of which may be complete."""
    lost = [cut for cut in cuts if not form.path(output.root, cut).exists()]
    return [cut.outcome(WORKER_DIED, DIED) if cut in lost else cut.outcome() for cut in cuts]


@dataclass(frozen=True)
class RawVideo:
    """Video whose frames are numbered at 25 a second."""

    path: Path
    index: Index
    display: Display
    rate: Fraction  # frames a second; the average where it varies
    tick: Fraction  # seconds

    @classmethod
    def open(cls, path: Path) -> "RawVideo":
        """Read the index of a video.  Raises InputError where that or its end is damaged."""
        with open_video(path) as video:
            index = video.read_index()
            return cls(path, index, video.display(), video.rate, video.tick)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a displayed frame, in pixels."""
        height, width = self.display.size
        return width, height

    @property
    def num_frames(self) -> int:
        """Number of frames at 25 a second."""
        times = self.index.times
        seconds = (times[-1] - times[0]) * self.tick + 1 / self.rate
        return max(round(seconds * RATE), 1)

    def time(self, number: int) -> int:
        """Return the time, in ticks, of the stored frame that is shown as frame ``number``."""
        times = self.index.times
        middle = times[0] + Fraction(2 * number + 1, 2 * RATE) / self.tick
        return times[max(bisect_left(times, middle) - 1, 0)]

    def passes(self, cuts: Sequence[Cut]) -> Iterator[list[Cut]]:
        """Group the cuts that are decoded fastest in one pass."""
        together: list[Cut] = []
        until = self.index.times[0]
        for cut in sorted(cuts, key=lambda cut: (cut.start, cut.end, cut.name)):
            apart = self.index.seeks and self.index.key_before(self.time(cut.start)) > until
            if together and apart:
                yield together
                together = []
            until = max(until, self.time(cut.end - 1))
            together.append(cut)
        if together:
            yield together

    def frames(self, first: int, last: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode the frames from number ``first`` to ``last``, with their times in ticks."""
        begin, end = self.time(first), self.time(last)
        with open_video(self.path) as video:
            for time, frame in video.decode(
                self.index.key_before(begin) if self.index.seeks else None
            ):
                if time >= begin:
                    yield time, frame
                if time >= end:
                    return


def _cut_together(
    raw: RawVideo, cuts: Sequence[Cut], form: ClipFormat, output: Output
) -> list[Outcome]:
    """Cut clips in one pass; at a damaged place those that are not complete are lost."""
    waiting = deque(_ClipWriter(cut, raw, form, output) for cut in cuts)
    growing: list[_ClipWriter] = []
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


def rounded(box: Box, digits: int = 3) -> Box:
    """Round the sides of a box to decimal digits."""
    return Box(*(round(side, digits) for side in box))


class _ClipWriter:
    """Writer of one clip, which leaves nothing if it is never finished."""

    def __init__(self, cut: Cut, raw: RawVideo, form: ClipFormat, output: Output) -> None:
        self.cut, self.raw, self.form = cut, raw, form
        self.times = [raw.time(number) for number in range(cut.start, cut.end)]
        self.counts = Counter(self.times)  # how often each frame is shown
        width, height = raw.size
        box = cut.box.scaled(width, height)
        self.box = box.squared(width, height) if form.boxes == "square" else box
        self.crop = CropFilter(self.box, raw.display, form.size)
        self.place = form.path(output.root, cut)
        self.unfinished = output.work / self.place.name
        self.writer: Writer = FolderWriter(self.unfinished)
        if form.format == "mp4":
            # One thread: each core has a process, and the number of threads changes the bits
            self.writer = VideoWriter(self.unfinished, Fraction(RATE), crf=CRF, threads=1)

    def __enter__(self) -> Self:
        self.writer.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        if self.writer.num_frames < len(self.times):
            self.writer.__exit__(InputError)

    def add(self, time: int, frame: av.VideoFrame) -> None:
        """Write a frame as often as the clip shows it."""
        if times := self.counts[time]:
            picture = self.crop(frame)
            for _ in range(times):
                self.writer.write(picture)

    def finish(self) -> Outcome:
        """Move the clip to its place, after its record: a clip at its place is complete."""
        if self.writer.num_frames < len(self.times):
            detail = f"{len(self.times) - self.writer.num_frames} of its frames are missing"
            return self.cut.outcome(UNREADABLE, detail)
        self.writer.__exit__(None)
        with naming_errors(self.place):
            for path in [*self.unfinished.glob("*.png"), self.unfinished]:
                flush(path)
            self.place.parent.mkdir(exist_ok=True)
            self.record().write_json(self.place.with_name(f"{self.cut.name}.json"))
            self.unfinished.rename(self.place)
        return self.cut.outcome()

    def record(self) -> ClipRecord:
        return ClipRecord(
            video=printable(self.raw.path.name),
            frames=(self.cut.start, self.cut.end),
            video_size=self.raw.size,
            video_rate=str(self.raw.rate),
            boxes=self.form.boxes,
            box=rounded(self.box),
            box_stated=self.cut.stated and rounded(self.cut.stated.scaled(*self.raw.size)),
            aspect=round(self.box.height / self.box.width, 4),
            size=(self.form.size, self.form.size),
        )
