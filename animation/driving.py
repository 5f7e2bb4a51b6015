"""Read what drives a source: a video, whose keypoints are detected, or a motion template.

Both are a stream of keypoints in batches, with the driving frames that these belong to.
"""

import collections
import itertools
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from typing_extensions import TypedDict, Unpack  # typing has them from Python 3.11 on

from animation.animator import Animator, batches
from animation.cropper import CropPolicy, driving_fit
from animation.motion_template import SUFFIX, MotionTemplate, load_template
from animation.motion_transfer import frames_of
from faces.main_face import FacesOfVideo
from media.pictures import Picture
from media.video import STILL_RATE, Frame, frames_at, probe, read_frames
from modules.geometry import Keypoints
from utils.errors import InputError
from utils.malloc import outside_heap
from utils.prefetch import prefetch
from utils.wording import counted

ALL = slice(None)  # frames


class DrivingFrame(NamedTuple):
    """One driving frame, or what is left of it in a template."""

    time: Fraction | None  # seconds from the first; None: where the rate puts it
    pictures: list[Picture]  # the frame at the network's size, if there is one


KeypointBatches = Iterator[tuple[list[DrivingFrame], Keypoints]]  # keypoints (B, K, ...), on device


class KeypointBuffer:
    """Keypoints of any number of frames on the host, each part in one growing block of float32.

    Tensors that are kept pin the larger blocks freed around them: memory grew by 0.2 to 0.8 MB
    with every frame.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self.shapes: list[torch.Size] = []  # of a frame's parts
        self.parts = [array("f") for _ in Keypoints._fields]
        self.times: list[Fraction] = []  # of the frames, where the rate varies

    def add(self, keypoints: Keypoints, times: list[Fraction]) -> None:
        """Append the keypoints (B, K, ...) of a batch, and its times in seconds."""
        self.num_frames += len(keypoints.positions)
        self.shapes = [part.shape[1:] for part in keypoints]
        for block, part in zip(self.parts, keypoints, strict=True):
            block.frombytes(part.cpu().numpy().tobytes())
        self.times += times

    def keypoints(self) -> Keypoints:
        """Return the keypoints of all frames, (T, K, ...), which share the memory of the buffer."""
        return Keypoints(
            *(
                torch.from_numpy(np.asarray(part).reshape(self.num_frames, *shape))
                for part, shape in zip(self.parts, self.shapes, strict=True)
            )
        )


class DrivingVideo:
    """A driving video, folder or picture, whose keypoints are detected as it is read."""

    def __init__(
        self,
        animator: Animator,
        path: Path,
        *,
        policy: CropPolicy | None = None,
        frames: slice = ALL,
        still_rate: Fraction = STILL_RATE,
    ) -> None:
        """Use ``frames`` of the video, all brought to the network's size in the same way.

        A folder shows ``still_rate`` frames per second.
        """
        self.animator, self.path = animator, path
        self.still_rate = still_rate
        self.video = probe(path, still_rate)
        self.numbers = chosen_numbers(frames, self.video.num_frames, path)
        self.num_frames, self.rate = len(self.numbers), self.video.rate
        self.faces = FacesOfVideo(path, self.numbers)
        self.fit = driving_fit(animator, policy, self.video.size, self.faces.main, path)
        has_sound = self.video.has_audio and self.numbers.start == 0
        self.sound = path if has_sound else None  # the file with the sound of these frames
        self.buffer: KeypointBuffer | None = None  # of what goes through ``motion``, if asked for
        self.detected: Keypoints | None = None  # of all frames, once ``all_keypoints`` found them

    @cached_property
    def initial(self) -> int:
        """Number of the frame that relative motion starts from: the first that shows the face."""
        return self.faces.first()

    def frames(self) -> Iterator[Frame]:
        """Read the frames as the network sees them, (H, W, 3), with seconds from the first."""
        start = None
        frames = read_frames(self.path, self.numbers.start, still_rate=self.still_rate)
        for image, time in itertools.islice(frames, self.num_frames):
            start = time if start is None else start
            yield Frame(outside_heap(self.fit(image)), time - start)

    @contextmanager
    def motion(self, batch_size: int | None = None) -> Iterator[KeypointBatches]:
        """Stream frames and keypoints (B, K, ...); a thread reads two batches ahead."""
        batch_size = batch_size or self.animator.batch_size
        with prefetch(self.frames(), 2 * batch_size) as frames:
            read = batches(frames, batch_size)
            if self.detected is not None:
                known = split(self.detected, batch_size)
                yield zip(map(self.driving_frames, read), known, strict=True)
            else:
                if self.buffer is not None:  # of an earlier pass
                    self.keep_keypoints()
                yield map(self.keep, self.animator.streams.map(self.detect, read))

    def detect(self, frames: list[Frame]) -> tuple[list[Frame], Keypoints]:
        """Detect the keypoints (B, K, ...) of a batch of frames."""
        return frames, self.animator.detect([frame.image for frame in frames])

    def keep(self, batch: tuple[list[Frame], Keypoints]) -> tuple[list[DrivingFrame], Keypoints]:
        """Keep the keypoints (B, K, ...) of a batch of frames, if asked for."""
        frames, keypoints = batch
        if self.buffer is not None:
            times = [time for _, time in frames] if self.video.variable_rate else []
            self.buffer.add(keypoints, times)
        return self.driving_frames(frames), keypoints

    def driving_frames(self, frames: list[Frame]) -> list[DrivingFrame]:
        """Leave out the times in seconds where the rate tells them."""
        varies = self.video.variable_rate
        return [DrivingFrame(time if varies else None, [image]) for image, time in frames]

    def all_keypoints(self, batch_size: int | None = None) -> Keypoints:
        """Detect the keypoints (T, K, ...) of all frames, which ``motion`` then does not repeat."""
        if self.detected is None:
            self.keep_keypoints()
            with self.motion(batch_size) as motion:
                collections.deque(motion, maxlen=0)
            assert self.buffer is not None
            kept = self.buffer.keypoints()
            self.detected = Keypoints(*(part.to(self.animator.device) for part in kept))
        return self.detected

    def keypoints_at(self, number: int, batch_size: int | None = None) -> Keypoints:
        """Detect the keypoints (1, K, ...) of one frame, numbered from the first that is used.

        They are detected among the frames of its batch, as in ``motion``: a frame alone can be
        rounded otherwise.
        """
        require_frame(number, self.numbers, self.path)
        batch_size = batch_size or self.animator.batch_size
        first = number - number % batch_size
        images = frames_at(self.path, self.numbers[first : first + batch_size])
        found = self.animator.detect([self.fit(image) for image in images])
        return frames_of(found, slice(number - first, number - first + 1))

    def keep_keypoints(self) -> None:
        """Keep the keypoints (B, K, ...) of ``motion`` from now on, for ``template``."""
        self.buffer = KeypointBuffer()

    def template(self) -> MotionTemplate:
        """Make a template of the keypoints (T, K, ...), once all of them were kept."""
        assert self.buffer is not None
        return MotionTemplate(
            self.buffer.keypoints(),
            rate=self.rate,
            size=self.animator.size,
            detector=self.animator.detector_fingerprint,
            times=tuple(self.buffer.times) or None,
            initial=self.initial,
        )


class DrivingTemplate:
    """A driving motion that was saved as a template."""

    def __init__(self, animator: Animator, path: Path, *, frames: slice = ALL) -> None:
        """Load the template.  Raises InputError where another detector made it."""
        self.animator, self.path = animator, path
        template = load_template(path)
        template.require_maker(animator.detector_fingerprint, animator.size, path)
        self.numbers = chosen_numbers(frames, len(template.keypoints.positions), path)
        self.num_frames, self.rate = len(self.numbers), template.rate
        parts = (part[frames].to(animator.device) for part in template.keypoints)
        self.keypoints = Keypoints(*parts)
        self.times = template.times and template.times[frames]
        self.initial = max(template.initial - self.numbers.start, 0)
        if self.initial >= self.num_frames:
            self.initial = 0
        self.sound: Path | None = None

    @contextmanager
    def motion(self, batch_size: int | None = None) -> Iterator[KeypointBatches]:
        """Stream frames without pictures, and keypoints (B, K, ...)."""
        batch_size = batch_size or self.animator.batch_size
        times = iter([None] * self.num_frames if self.times is None else self.times)
        start = self.times[0] if self.times else 0
        frames = (DrivingFrame(None if time is None else time - start, []) for time in times)
        yield (
            (list(itertools.islice(frames, len(keypoints.positions))), keypoints)
            for keypoints in split(self.keypoints, batch_size)
        )

    def all_keypoints(self, batch_size: int | None = None) -> Keypoints:
        """Return the keypoints of all frames, (T, K, ...), which share the memory of the buffer."""
        return self.keypoints

    def keypoints_at(self, number: int, batch_size: int | None = None) -> Keypoints:
        """Return the keypoints (1, K, ...) of one frame, numbered from the first that is used."""
        require_frame(number, self.numbers, self.path)
        return frames_of(self.keypoints, slice(number, number + 1))


Driving = DrivingVideo | DrivingTemplate


def split(keypoints: Keypoints, batch_size: int) -> Iterator[Keypoints]:
    """Split the keypoints (T, K, ...) of a motion into batches."""
    parts = zip(*(part.split(batch_size) for part in keypoints), strict=True)
    return itertools.starmap(Keypoints, parts)


class Reading(TypedDict, total=False):
    """Options of ``open_driving``, for all that reads what drives."""

    policy: CropPolicy | None  # faces are cropped as in training
    frames: slice  # those to use
    still_rate: Fraction  # frames per second of a folder


def open_driving(animator: Animator, path: Path, **reading: Unpack[Reading]) -> Driving:
    """Open what drives, a template where the file is a .npz."""
    if path.suffix.lower() == SUFFIX:
        return DrivingTemplate(animator, path, frames=reading.get("frames", ALL))
    return DrivingVideo(animator, path, **reading)


def require_driving(path: Path, frames: slice, initial: int) -> None:
    """Raise InputError, before any work, where a file cannot drive or lacks the frames.

    ``initial`` is the number, among those frames, of the one that relative motion starts from.
    """
    if path.suffix.lower() == SUFFIX:
        num_frames = len(load_template(path).keypoints.positions)
    else:
        num_frames = probe(path).num_frames
    require_frame(initial, chosen_numbers(frames, num_frames, path), path)


def chosen_numbers(frames: slice, num_frames: int, path: Path) -> range:
    """Numbers of the chosen frames.  Raises InputError where some of them are out of range."""
    start, end = frames.start or 0, num_frames if frames.stop is None else frames.stop
    if not 0 <= start < end <= num_frames:
        raise InputError(
            f"Frames {start}:{end} are out of range: {path} has {counted(num_frames, 'frame')}."
        )
    return range(start, end)


def require_frame(index: int, numbers: range, path: Path) -> None:
    """Raise InputError where the frames with these numbers have none at ``index``."""
    if index >= len(numbers):
        used = "1 frame is" if len(numbers) == 1 else f"{len(numbers)} frames are"
        raise InputError(f"Of {path} {used} used: there is no frame {index}.")
