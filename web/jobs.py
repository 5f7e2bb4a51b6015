"""Animate files in the background, a few at once, each of which can be watched and cancelled."""

import io
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

import numpy as np
from PIL import Image

from animation.animate_file import AnimationOptions, animate_file
from animation.animator import Animator
from animation.cropper import CropPolicy
from animation.motion_template import SUFFIX
from media.pictures import Box, Picture
from utils.command_line import describe
from utils.errors import InputError
from utils.files import remove
from web.limits import Limits, Refusal
from web.network_queue import Cancelled, NetworkQueue, QueuedAnimator

State = Literal["waiting", "running", "done", "failed", "cancelled"]

DETECTING, RENDERING = 0.1, 1.0  # cost of a frame in either, relative to each other
PATIENCE = 0.3  # seconds, for threads that are to end
PREVIEW_SIDE = 640  # pixels of the longer side
FAILED = "The animation failed, by a fault of the server: its log says more."

logger = logging.getLogger(__name__)


class Job:
    """One animation from file to file, and how far it has come."""

    def __init__(
        self,
        animator: QueuedAnimator,
        source: Picture,
        driving: Path,
        output: Path,
        options: AnimationOptions,
        *,
        face: Box | None,
        policy: CropPolicy | None,
        num_frames: int,
        names: dict[Path, str],
        on_end: Callable[[], None],
    ) -> None:
        """Prepare an animation; messages use the ``names`` of paths, and ``on_end`` comes last."""
        self.animator, self.options, self.policy = animator, options, policy
        self.source, self.face, self.driving = source, face, driving
        self.output = output
        is_video = driving.suffix != SUFFIX
        self.motion = output.with_suffix(SUFFIX) if is_video else None
        self.num_frames, self.names = num_frames, names
        self.state: State = "waiting"
        self.error: str | None = None
        self.frames_written = 0
        self.finished = threading.Event()
        self._lock = threading.Lock()  # of the state
        self._preview: Picture | None = None
        self._on_end = on_end
        self._began = 0.0  # seconds
        self._is_cancelled = False

    @property
    def is_finished(self) -> bool:
        return self.finished.is_set()

    @property
    def progress(self) -> float:
        """Part of the work that is done, 0 to 1."""
        if self.state == "done":
            return 1.0
        animator = self.animator
        detected = min(animator.num_detected, self.num_frames) if self.motion else self.num_frames
        done = DETECTING * detected + RENDERING * min(animator.num_rendered, self.num_frames)
        return done / ((DETECTING + RENDERING) * self.num_frames)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the speed so far; None where it cannot be told."""
        progress = self.progress
        if self.state != "running" or self.frames_written < 2:
            return None
        return (time.monotonic() - self._began) * (1 - progress) / progress

    def preview(self) -> bytes | None:
        """Encode the last frame that was written as a JPEG; None before the first."""
        picture = self._preview
        if picture is None:
            return None
        image, file = Image.fromarray(picture), io.BytesIO()
        image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        image.save(file, "JPEG", quality=85)
        return file.getvalue()

    def run(self) -> None:
        """Animate, unless it was cancelled; nothing is raised."""
        with self._lock:
            if self.state != "waiting":
                return
            self.state, self._began = "running", time.monotonic()
        try:
            animate_file(
                self.animator,
                self.source,
                self.driving,
                str(self.output),
                self.options,
                policy=self.policy,
                motion_to=self.motion,
                source_face=self.face,
                on_frame=self._note,
            )
        except Exception as error:
            if self._is_cancelled or isinstance(error, Cancelled):  # its files may be gone
                self._end_where("running", "cancelled")
            else:
                self.error = self._sentence(error)
                self._end_where("running", "failed")
        else:
            self._end_where("running", "done")

    def _end_where(self, before: State, state: State) -> None:
        """Note the end of a job that was in the state ``before``."""
        with self._lock:
            if self.state != before:
                return
            self.state = state
        if state != "done":
            self._remove_files()
        self.source = np.empty((0, 0, 3), np.uint8)  # frees the portrait
        self.finished.set()
        self._on_end()

    def _note(self, frame: Picture) -> None:
        if self._is_cancelled:
            raise Cancelled
        self._preview = frame
        self.frames_written += 1

    def _sentence(self, error: Exception) -> str:
        """Describe an error for the client, who knows nothing of the server's paths."""
        sentence = describe(error) if isinstance(error, InputError) else None
        if sentence is None:
            logger.error("An animation failed.", exc_info=error)
            return FAILED
        for path, name in self.names.items():
            sentence = sentence.replace(str(path), name)
        return sentence

    def cancel(self) -> None:
        """End the animation where it has not ended."""
        self._is_cancelled = True
        self.animator.cancel()
        self._end_where("waiting", "cancelled")

    def remove(self) -> None:
        """Cancel, and remove the results."""
        self.cancel()
        self._remove_files()

    def _remove_files(self) -> None:
        remove(self.output)
        if self.motion is not None:
            remove(self.motion)


class JobRunner:
    """Threads on which animations run, in the order in which they were asked for.

    They do not keep the process from ending: the search for faces in a long video takes seconds.
    """

    def __init__(self, animator: Animator, queue: NetworkQueue, limits: Limits) -> None:
        self._animator, self._queue, self._limits = animator, queue, limits
        self._jobs: list[Job] = []  # unfinished ones, in their order
        self._waiting: SimpleQueue[Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name="animation", daemon=True)
            for _ in range(limits.running)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            job.run()

    def new_animator(self) -> QueuedAnimator:
        """Make an animator for one job.  Raises Refusal where too many are waiting."""
        self._jobs = [job for job in self._jobs if not job.is_finished]
        if len(self._jobs) >= self._limits.running + self._limits.waiting:
            raise Refusal(503, "Too many animations are waiting: try again in a while.", 30)
        return QueuedAnimator(self._animator, self._queue)

    @property
    def batch_size(self) -> int | None:
        """Frames to render at once: one on a CPU, where more are not faster and others wait."""
        return 1 if self._animator.device.type == "cpu" else None

    def start(self, job: Job) -> None:
        """Run a job as soon as there is a thread for it."""
        self._jobs.append(job)
        self._waiting.put(job)

    def num_before(self, job: Job) -> int:
        """Count the jobs that wait before one that waits."""
        waiting = [each for each in self._jobs if each.state == "waiting"]
        return waiting.index(job) if job in waiting else 0

    def cancel(self) -> None:
        """Cancel all jobs."""
        for job in self._jobs:
            job.cancel()

    def close(self) -> None:
        """Cancel all jobs, and wait for the threads for a moment."""
        self.cancel()
        for _ in self._threads:
            self._waiting.put(None)
        until = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
