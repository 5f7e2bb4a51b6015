"""What drives a portrait: a video, whose keypoints are detected, or a motion saved before.

Both are a stream of keypoints in batches, with the moments that these belong to.
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

from animation.animator import Animator, batches
from animation.cropper import Framing, video_fitter
from animation.motion_template import SUFFIX, MotionTemplate, load_template
from faces.main_face import FacesOfVideo
from media.pictures import Picture
from media.video import STILL_RATE, Frame, frames_at, probe, read_frames
from modules.geometry import Keypoints
from utils.errors import InputError
from utils.prefetch import prefetch
from utils.wording import counted

ALL = slice(None)  # frames


class DrivingFrame(NamedTuple):
    """One driving frame, or what is left of it in a template."""

    time: Fraction | None  # seconds from the first; None: where the rate puts it
    pictures: list[Picture]  # the frame at the network's size, if there is one


KeypointBatches = Iterator[
    tuple[list[DrivingFrame], Keypoints]
]  # the keypoints on the network's device


class KeptMotion:
    """The motion of any number of frames on the host, each part in one growing block of float32.

    Tensors that are kept pin the larger blocks freed around them: memory grew by 0.2 to 0.8 MB
    with every frame.
    """

    def __init__(self) -> None:
        self.num_frames = 0
        self.shapes: list[torch.Size] = []  # of a frame's parts
        self.parts = [array("f") for _ in Keypoints._fields]
        self.times: list[Fraction] = []  # of the frames, where the rate varies

    def add(self, keypoints: Keypoints, times: list[Fraction]) -> None:
        self.num_frames += len(keypoints.positions)
        self.shapes = [part.shape[1:] for part in keypoints]
        for kept, part in zip(self.parts, keypoints, strict=True):
            kept.frombytes(part.cpu().numpy().tobytes())
        self.times += times

    def keypoints(self) -> Keypoints:
        """Those of all frames: (T, K, ...)."""
        parts = (np.array(part, np.float32) for part in self.parts)
        shapes = ((self.num_frames, *shape) for shape in self.shapes)
        return Keypoints(
            *(torch.from_numpy(p.reshape(s)) for p, s in zip(parts, shapes, strict=True))
        )


class DrivingVideo:
    """A video, folder or picture."""

    def __init__(
        self,
        animator: Animator,
        path: Path,
        *,
        framing: Framing | None = None,
        frames: slice = ALL,
        still_rate: Fraction = STILL_RATE,
    ) -> None:
        """Of the video only ``frames``, all brought to the network's size in the same way.

        A folder shows ``still_rate`` frames a second.
        """
        self.animator, self.path = animator, path
        self.still_rate = still_rate
        self.video = probe(path, still_rate)
        self.numbers = chosen_numbers(frames, self.video.num_frames, path)
        self.num_frames, self.rate = len(self.numbers), self.video.rate
        self.faces = FacesOfVideo(path, self.numbers)
        self.fit = video_fitter(animator, self.faces, self.video.size, framing)
        has_sound = self.video.has_audio and self.numbers.start == 0
        self.sound = path if has_sound else None  # the file with the sound of these frames
        self.kept: KeptMotion | None = None  # of what goes through ``motion``, if asked for
        self.known: Keypoints | None = None  # of all frames, once ``all_keypoints`` found them

    @cached_property
    def initial(self) -> int:
        """The frame that relative motion counts from: the first that shows the main face."""
        return self.faces.first()

    def frames(self) -> Iterator[Frame]:
        """The frames as the network sees them, with the seconds from the first of them."""
        start = None
        frames = read_frames(self.path, self.numbers.start, still_rate=self.still_rate)
        chosen = itertools.islice(frames, self.num_frames)
        for image, time in chosen:
            start = time if start is None else start
            yield Frame(self.fit(image), time - start)

    @contextmanager
    def motion(self, batch_size: int | None = None) -> Iterator[KeypointBatches]:
        """A thread reads two batches ahead of the network."""
        batch_size = batch_size or self.animator.batch_size
        with prefetch(self.frames(), 2 * batch_size) as frames:
            read = batches(frames, batch_size)
            if self.known is not None:
                yield zip(map(self.moments, read), split(self.known, batch_size), strict=True)
            else:
                if self.kept is not None:  # of a pass that went before
                    self.keep_motion()
                yield map(self.detect, read)

    def detect(self, frames: list[Frame]) -> tuple[list[DrivingFrame], Keypoints]:
        keypoints = self.animator.detect([frame.image for frame in frames])
        if self.kept is not None:
            times = [time for _, time in frames] if self.video.variable_rate else []
            self.kept.add(keypoints, times)
        return self.moments(frames), keypoints

    def moments(self, frames: list[Frame]) -> list[DrivingFrame]:
        varies = self.video.variable_rate
        return [DrivingFrame(time if varies else None, [image]) for image, time in frames]

    def all_keypoints(self, batch_size: int | None = None) -> Keypoints:
        """Find the keypoints of all frames, keeping no picture; ``motion`` then takes these."""
        if self.known is None:
            self.keep_motion()
            with self.motion(batch_size) as motion:
                collections.deque(motion, maxlen=0)
            assert self.kept is not None
            kept = self.kept.keypoints()
            self.known = Keypoints(*(part.to(self.animator.device) for part in kept))
        return self.known

    def keypoints_at(self, number: int, batch_size: int | None = None) -> Keypoints:
        """Those of one frame, counted from the first that is used.

        Found among the frames of its batch, as those that go through ``motion``: a frame alone can
        be rounded otherwise.
        """
        require_frame(number, self.numbers, self.path)
        batch_size = batch_size or self.animator.batch_size
        first = number - number % batch_size
        images = frames_at(self.path, self.numbers[first : first + batch_size])
        found = self.animator.detect([self.fit(image) for image in images])
        return Keypoints(*(part[number - first : number - first + 1] for part in found))

    def keep_motion(self) -> None:
        """Keep what goes through ``motion`` from now on, for ``template``."""
        self.kept = KeptMotion()

    def template(self) -> MotionTemplate:
        """The motion, once all of it went through and was kept."""
        assert self.kept is not None
        animator = self.animator
        return MotionTemplate(
            self.kept.keypoints(),
            self.rate,
            animator.size,
            animator.detector_fingerprint,
            tuple(self.kept.times) or None,
            self.initial,
        )


class DrivingTemplate:
    """A motion that was saved."""

    def __init__(self, animator: Animator, path: Path, *, frames: slice = ALL) -> None:
        """Raises InputError where it is not of the animator's detector."""
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
        yield self.moments(batch_size or self.animator.batch_size)

    def moments(self, batch_size: int) -> KeypointBatches:
        times = iter([None] * self.num_frames if self.times is None else self.times)
        start = self.times[0] if self.times else 0
        for keypoints in split(self.keypoints, batch_size):
            some = itertools.islice(times, len(keypoints.positions))
            yield (
                [DrivingFrame(None if time is None else time - start, []) for time in some],
                keypoints,
            )

    def all_keypoints(self, batch_size: int | None = None) -> Keypoints:
        """The keypoints of all frames, whatever the batches."""
        return self.keypoints

    def keypoints_at(self, number: int, batch_size: int | None = None) -> Keypoints:
        """Those of one frame, counted from the first that is used, whatever the batches."""
        require_frame(number, self.numbers, self.path)
        return Keypoints(*(part[number : number + 1] for part in self.keypoints))


Driving = DrivingVideo | DrivingTemplate


def split(keypoints: Keypoints, batch_size: int) -> Iterator[Keypoints]:
    """Split the keypoints of a motion into batches."""
    parts = zip(*(part.split(batch_size) for part in keypoints), strict=True)
    return itertools.starmap(Keypoints, parts)


def open_driving(
    animator: Animator,
    path: Path,
    *,
    framing: Framing | None = None,
    frames: slice = ALL,
    still_rate: Fraction = STILL_RATE,
) -> Driving:
    """What the file drives with: a .npz is a template."""
    if path.suffix.lower() == SUFFIX:
        return DrivingTemplate(animator, path, frames=frames)
    return DrivingVideo(animator, path, framing=framing, frames=frames, still_rate=still_rate)


def require_driving(path: Path, frames: slice, initial: int) -> None:
    """Raises InputError where a file cannot drive, or has not these frames: to be asked first.

    ``initial`` is that of the frames from which motion counts.
    """
    if path.suffix.lower() == SUFFIX:
        num_frames = len(load_template(path).keypoints.positions)
    else:
        num_frames = probe(path).num_frames
    require_frame(initial, chosen_numbers(frames, num_frames, path), path)


def chosen_numbers(frames: slice, num_frames: int, path: Path) -> range:
    """The numbers of the frames.  Raises InputError where some of them are not there."""
    start, end = frames.start or 0, num_frames if frames.stop is None else frames.stop
    if not 0 <= start < end <= num_frames:
        raise InputError(
            f"{path} holds {counted(num_frames, 'frame')}: {start}:{end} is no part of them."
        )
    return range(start, end)


def require_frame(index: int, numbers: range, path: Path) -> None:
    """Raises InputError where the frames with these numbers have none at ``index``."""
    if index >= len(numbers):
        used = "1 frame is" if len(numbers) == 1 else f"{len(numbers)} frames are"
        raise InputError(f"Of {path} {used} used: there is no frame {index}.")
