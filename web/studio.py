"""Hold all that requests share: one network, its queue, the sessions and the animations."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastapi import UploadFile

from animation.animate_file import AnimationOptions
from animation.animator import Animator
from animation.bundled import MOTIONS, bundled_source, motion_names
from animation.cropper import CropPolicy, fit_source
from animation.motion_template import SUFFIX
from media.pictures import Picture
from utils.errors import InputError
from utils.files import remove
from web.jobs import Job, JobRunner
from web.limits import Limits, Refusal, too_large
from web.network_queue import NetworkQueue
from web.sessions import Session, Sessions
from web.threads import Threads
from web.uploads import (
    Driving,
    Portrait,
    ending_of,
    face_of,
    portrait_of,
    read_motion,
    read_portrait,
    shown_name,
)

BLOCK = 2**20  # bytes of an upload that are copied at once


class Studio:
    """One network, and what its clients do with it."""

    def __init__(
        self,
        animator: Animator,
        policy: CropPolicy | None,
        *,
        title: str = "",
        limits: Limits | None = None,
        label: bool = True,
        folder: Path | None = None,
    ) -> None:
        """Crop faces by the ``policy``, and keep files under ``folder``.

        ``title`` names the network; live pictures have a ``label`` that they are generated.
        """
        self.animator, self.policy = animator, policy
        self.title, self.label = title, label
        self.limits = limits or Limits()
        self.sessions = Sessions(self.limits, folder)
        self.queue = NetworkQueue()
        self.jobs = JobRunner(animator, self.queue, self.limits)
        self.pictures, self.live, self.searches = Threads(4), Threads(4), Threads(2)
        self.provenance = AnimationOptions().provenance(animator)  # of recordings
        self.motions = self._known_motions()
        self._num_live = 0
        self._is_closed = False

    def _known_motions(self) -> dict[str, Driving]:
        """Find the motions of the project that the detector of this network made."""
        known = {}
        for name in motion_names():
            path = MOTIONS / f"{name}{SUFFIX}"
            with suppress(InputError):
                known[name] = Driving(
                    path, read_motion(path, name, self.animator, self.limits), name
                )
        return known

    def stop(self) -> None:
        """End all work, without waiting for it."""
        self.queue.close()
        self.jobs.cancel()

    def close(self) -> None:
        """End all work, and remove all files."""
        if self._is_closed:
            return
        self._is_closed = True
        self.stop()
        self.jobs.close()
        for threads in (self.pictures, self.live, self.searches):
            threads.close()
        self.sessions.close()

    async def add_portrait(self, session: Session, file: UploadFile) -> int:
        """Read an uploaded portrait; return its number in the session."""
        data = await file.read(self.limits.portrait_bytes + 1)
        name = shown_name(file.filename)
        if len(data) > self.limits.portrait_bytes:
            raise too_large(name, self.limits.portrait_bytes)
        portrait = await self.pictures.run(read_portrait, data, name, self.limits)
        return session.portraits.add(portrait)

    async def add_example(self, session: Session) -> int:
        """Let the session have the example; return its number."""
        portrait = await self.pictures.run(lambda: portrait_of(bundled_source(), self.limits))
        return session.portraits.add(portrait)

    def cut(self, portrait: Portrait, face: int) -> Picture:
        """Crop a portrait as the network will see it, in natural proportions: (H, W, 3)."""
        policy = None if self.policy is None else self.policy._replace(paste=False)
        chosen = face_of(portrait, face)
        fitted = fit_source(self.animator, portrait.picture, policy, "the portrait", face=chosen)
        return fitted.to_output(fitted.picture)

    async def add_driving(self, session: Session, file: UploadFile) -> int:
        """Keep an uploaded video or motion file; return its number in the session."""
        size = file.size or 0
        if size > self.limits.driving_bytes:
            raise too_large(shown_name(file.filename), self.limits.driving_bytes)
        self.sessions.require_room(size)
        driving = await self.pictures.run(self._kept, session, file)
        try:
            return session.drivings.add(driving)
        except Refusal:
            remove(driving.path)
            raise

    def _kept(self, session: Session, file: UploadFile) -> Driving:
        """Copy an upload to the folder of the session and check it; or leave nothing of it."""
        path, name = session.new_path(".upload"), shown_name(file.filename)
        try:
            with path.open("xb") as copy:
                while block := file.file.read(BLOCK):
                    copy.write(block)
            path = path.rename(path.with_suffix(ending_of(path)))
            return Driving(path, read_motion(path, name, self.animator, self.limits), name)
        except BaseException:
            remove(path)
            raise

    def bundled_driving(self, name: str) -> Driving:
        """Take a motion of the project.  Raises Refusal where there is none of this name."""
        if name not in self.motions:
            known = ", ".join(self.motions) or "none for this network"
            raise Refusal(422, f"There is no motion of this name; there are: {known}.")
        return self.motions[name]

    def start_job(
        self,
        session: Session,
        portrait: Portrait,
        driving: Driving,
        options: AnimationOptions,
        *,
        face: int,
        paste: bool,
    ) -> int:
        """Begin an animation, as soon as there is room for it; return its number.

        Raises Refusal where options do not go together, or too many animations wait.
        """
        self.require_usable(portrait, options, paste=paste)
        num_unfinished = len(session.unfinished_jobs())
        if num_unfinished >= self.limits.waiting_of_session:
            raise Refusal(429, f"{num_unfinished} animations of yours are not finished: wait.", 30)
        self.sessions.require_room(0)
        policy, chosen = self.policy, face_of(portrait, face)
        if policy is not None:
            policy = policy._replace(paste=paste)
        job = Job(
            self.jobs.new_animator(),
            portrait.picture,
            driving.path,
            session.new_path(".mp4"),
            options,
            face=chosen,
            policy=policy,
            num_frames=driving.motion.num_frames,
            names={driving.path: driving.name, session.folder: "The folder"},
            on_end=session.work_ended,
        )
        number = session.jobs.add(job)
        self.jobs.start(job)
        return number

    def require_usable(self, portrait: Portrait, options: AnimationOptions, *, paste: bool) -> None:
        """Raise Refusal where options need what is not there."""
        if paste and options.panels:
            raise Refusal(422, "A result is pasted back or shown with panels, not both.")
        if paste and self.policy is None:
            raise Refusal(422, "This network does not crop faces: nothing can be pasted back.")
        if paste and not portrait.faces:
            raise Refusal(422, "No face was found in the portrait: nothing can be pasted back.")
        self.require_expression(options.expression)

    def require_expression(self, strength: float) -> None:
        """Raise Refusal for a strength, 0 to 2, that the network does not allow."""
        if strength != 1 and not self.animator.detects_landmarks:
            raise Refusal(422, "This network finds no landmarks: leave the expression at 1.")

    @contextmanager
    def admitted(self, session: Session) -> Iterator[None]:
        """Count a live connection of a session.  Raises Refusal where there are too many."""
        if session.has_live:
            raise Refusal(409, "This session has a live animation already.")
        if self._num_live >= self.limits.live:
            raise Refusal(503, "Too many people animate live: try again in a while.", 30)
        session.has_live = True
        self._num_live += 1
        try:
            yield
        finally:
            session.has_live = False
            self._num_live -= 1
