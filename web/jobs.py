"""Animate files in the background, a few at once, each of which can be watched and cancelled."""

import io
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
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
        self.future: Future[None] | None = None
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
        """Animate; nothing is raised."""
        try:
            if self._is_cancelled:
                raise Cancelled
            self.state, self._began = "running", time.monotonic()
            animate_file(
                self.animator,
                self.source,
                self.driving,
                str(self.output),
                self.options,
                policy=self.policy,
                still_rate=Fraction(25),
                motion_to=self.motion,
                source_face=self.face,
                on_frame=self._note,
            )
        except Cancelled:
            self._end("cancelled")
        except Exception as error:
            self.error = self._sentence(error)
            self._end("failed")
        else:
            self._end("done")

    def _end(self, state: State) -> None:
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
        if self.future is not None and self.future.cancel():  # it has not begun
            self._end("cancelled")

    def remove(self) -> None:
        """Cancel, and remove the results."""
        self.cancel()
        self._remove_files()

    def _remove_files(self) -> None:
        remove(self.output)
        if self.motion is not None:
            remove(self.motion)


class JobRunner:
    """Threads on which animations run, in the order in which they were asked for."""

    def __init__(self, animator: Animator, queue: NetworkQueue, limits: Limits) -> None:
        self._animator, self._queue, self._limits = animator, queue, limits
        self._threads = ThreadPoolExecutor(limits.running, thread_name_prefix="animation")
        self._jobs: list[Job] = []  # in the order in which they run

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
        job.future = self._threads.submit(job.run)

    def num_before(self, job: Job) -> int:
        """Count the jobs that wait before one that waits."""
        waiting = [each for each in self._jobs if each.state == "waiting"]
        return waiting.index(job) if job in waiting else 0

    def cancel(self) -> None:
        """Cancel all jobs."""
        for job in self._jobs:
            job.cancel()

    def close(self) -> None:
        """Cancel all jobs and wait for the threads."""
        self.cancel()
        self._threads.shutdown(wait=True, cancel_futures=True)
