"""Keep what clients upload and get in sessions, each with a temporary folder that goes with it.

The folder of a server names its process: the next server removes the folders of servers that were
killed.
"""

import asyncio
import itertools
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from os import getpid
from pathlib import Path
from typing import Generic, TypeVar

from utils.files import remove, remove_leftovers
from web.jobs import Job
from web.limits import Limits, Refusal, no_room
from web.uploads import Driving, Portrait

SWEEP_EVERY = 5.0  # seconds
NAME = "mcnet-app-"  # with which the folders of servers begin, after a dot
OVER = "This session has ended: reload the page, or begin another."

Item = TypeVar("Item")


class Shelf(Generic[Item]):
    """Items of one kind in a session, by number; the oldest one not in use makes room."""

    def __init__(self, capacity: int, in_use: Callable[[Item], bool], drop: Callable[[Item], None]):
        self.capacity, self.in_use, self.drop = capacity, in_use, drop
        self.items: dict[int, Item] = {}
        self._numbers = itertools.count(1)

    def add(self, item: Item) -> int:
        """Add an item; return its number.  Raises Refusal where all others are in use."""
        if len(self.items) >= self.capacity:
            free = [number for number, each in self.items.items() if not self.in_use(each)]
            if not free:
                raise Refusal(429, "All files of this session are in use: wait, or cancel.", 10)
            self.drop(self.items.pop(free[0]))
        number = next(self._numbers)
        self.items[number] = item
        return number

    def __getitem__(self, number: int) -> Item:
        """Return an item.  Raises Refusal where it is not there, or not any more."""
        if number not in self.items:
            raise Refusal(404, f"There is no number {number} here, or not any more.")
        return self.items[number]


@dataclass(eq=False)
class Session:
    """Uploads and results of one client."""

    name: str
    folder: Path
    limits: Limits
    used: float = field(default_factory=time.monotonic)
    users: int = 0  # requests and live connections in progress
    has_live: bool = False
    is_over: bool = False

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self.portraits: Shelf[Portrait] = Shelf(
            self.limits.portraits, lambda portrait: False, lambda portrait: None
        )
        self.drivings: Shelf[Driving] = Shelf(
            self.limits.drivings,
            lambda driving: any(job.driving == driving.path for job in self.unfinished_jobs()),
            lambda driving: remove(driving.path),
        )
        self.jobs: Shelf[Job] = Shelf(
            self.limits.results, lambda job: not job.is_finished, lambda job: job.remove()
        )
        self.recordings: Shelf[Path] = Shelf(self.limits.results, lambda path: False, remove)

    def unfinished_jobs(self) -> list[Job]:
        """Return the animations that wait or run."""
        return [job for job in self.jobs.items.values() if not job.is_finished]

    def new_path(self, ending: str) -> Path:
        """Name a new file of the session; nothing of the name comes from a client."""
        return self.folder / f"{next(self._numbers)}{ending}"

    def without_paths(self, sentence: str) -> str:
        """Replace the paths of the session's files in a sentence for its client."""
        return re.sub(re.escape(str(self.folder)) + r"[^ :]*", "A file of the session", sentence)

    def stored_bytes(self) -> int:
        """Sum of the sizes of the session's files."""
        total = 0
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    total += path.lstat().st_size
        return total

    def end(self) -> None:
        """Cancel the animations and remove the files."""
        self.is_over = True
        for job in self.jobs.items.values():
            job.cancel()
        remove(self.folder)

    def work_ended(self) -> None:
        """Count the idle time from now; remove what was written after the end of the session."""
        self.used = time.monotonic()
        if self.is_over:
            remove(self.folder)

    def __enter__(self) -> "Session":
        self.users += 1
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.users -= 1
        self.work_ended()
        if self.is_over and isinstance(error, OSError):  # its files are gone
            raise Refusal(404, OVER) from error


class Sessions:
    """Sessions of a server, and the folder in which their files are."""

    def __init__(self, limits: Limits, parent: Path | None = None) -> None:
        """Make a folder in the system's folder of temporary files, or in ``parent``."""
        place = parent or Path(tempfile.gettempdir())
        remove_leftovers(place, f"{NAME}*")
        self.limits = limits
        self.folder = Path(tempfile.mkdtemp(prefix=f".{NAME}", suffix=f".{getpid()}", dir=place))
        self._sessions: dict[str, Session] = {}

    def begin(self) -> Session:
        """Begin a session.  Raises Refusal where there are too many."""
        if len(self._sessions) >= self.limits.sessions:
            raise Refusal(503, "Too many people are here already: try again in a while.", 60)
        name = secrets.token_urlsafe(16)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        session = Session(name, folder, self.limits)
        self._sessions[name] = session
        return session

    def __getitem__(self, name: str) -> Session:
        """Return a session and note that it was used.  Raises Refusal where it has ended."""
        session = self._sessions.get(name)
        if session is None:
            raise Refusal(404, OVER)
        session.used = time.monotonic()
        return session

    def __len__(self) -> int:
        return len(self._sessions)

    def end(self, name: str) -> None:
        """End a session where there is one of this name."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.end()

    def require_room(self, num_bytes: int) -> None:
        """Raise Refusal where files of so many bytes have no place beside the others."""
        stored = sum(session.stored_bytes() for session in self._sessions.values())
        free = shutil.disk_usage(self.folder).free
        if stored + num_bytes > self.limits.stored_bytes or 2 * num_bytes > free:
            raise no_room()

    async def sweep(self) -> None:
        """End sessions that nobody has used for long, again and again."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            now = time.monotonic()
            for name, session in list(self._sessions.items()):
                is_busy = session.users or session.unfinished_jobs()
                if not is_busy and now - session.used > self.limits.session_idle_seconds:
                    self.end(name)

    def close(self) -> None:
        """End all sessions and remove the folder."""
        for name in list(self._sessions):
            self.end(name)
        remove(self.folder)
