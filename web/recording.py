"""Record a live animation as an mp4, each frame with the time at which the camera took it."""

import threading
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from media.pictures import Picture
from media.provenance import Provenance
from media.video import VideoWriter

RATE = Fraction(25)  # frames per second, for the duration of the last frame
MOST_PER_SECOND = 60  # frames
TICK = Fraction(1, 1000)  # seconds, in which cameras state times


class Recording:
    """An mp4 that grows by the frames that are seen; threads may share it."""

    def __init__(self, path: Path, longest: float, provenance: Provenance | None = None) -> None:
        """Write to a new file, for ``longest`` seconds at most; it states its provenance."""
        self.path, self.longest = path, longest
        self.seconds = 0.0  # of the last frame
        self.is_full = False
        self._stack = ExitStack()
        self._writer = self._stack.enter_context(
            VideoWriter(path, RATE, None, provenance, threads=1)
        )
        self._start: float | None = None  # milliseconds
        self._shape: tuple[int, ...] = ()
        self._lock = threading.Lock()
        self._is_over = False

    @property
    def num_frames(self) -> int:
        return self._writer.num_frames

    def add(self, picture: Picture, milliseconds: float) -> None:
        """Write a frame (H, W, 3) that was taken at this time.

        None is written after the end, after the longest time, or of another size than the first.
        """
        with self._lock:
            if self._start is None:
                self._start, self._shape = milliseconds, picture.shape
            if self._is_over or picture.shape != self._shape:
                return
            time = round(milliseconds - self._start) * TICK
            if time <= self.longest:
                self._writer.write(picture, time)
                self.seconds = float(time)
            most = self.longest * MOST_PER_SECOND
            self.is_full = float(time) >= self.longest or self.num_frames >= most

    def finish(self) -> None:
        """Complete the file.  Raises InputError where there was no frame."""
        with self._lock:
            self._is_over = True
            self._stack.close()

    def discard(self) -> None:
        """Leave nothing of the file, unless it is complete."""
        with self._lock:
            self._is_over = True
            self._stack.__exit__(InterruptedError, InterruptedError(), None)
