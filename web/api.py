"""Answer the requests of the HTTP API, of which the page is one client."""

import asyncio
import io
from collections.abc import AsyncIterator, Coroutine
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile, WebSocket
from fastapi.responses import FileResponse
from PIL import Image
from pydantic import BaseModel, Field
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection

from animation.animate_file import AnimationOptions
from animation.bundled import MOTIONS
from animation.motion_template import SUFFIX
from media.pictures import Picture
from web.guard import refused
from web.jobs import Job, State
from web.limits import Refusal
from web.live import LiveConnection
from web.sessions import Session
from web.studio import Studio
from web.uploads import Driving, Portrait

POLL = 0.1  # seconds between two looks at a job, or at a client

Result = TypeVar("Result")

router = APIRouter(prefix="/api")


def studio_of(connection: HTTPConnection) -> Studio:
    """Return the studio of the application."""
    studio: Studio = connection.app.state.studio
    return studio


async def session_of(
    session: str, studio: Annotated[Studio, Depends(studio_of)]
) -> AsyncIterator[Session]:
    """Return a session, which does not end while it is used."""
    with studio.sessions[session] as found:
        yield found


UsesStudio = Annotated[Studio, Depends(studio_of)]
UsesSession = Annotated[Session, Depends(session_of)]


class FaceBox(BaseModel):
    """Place of a face, in fractions of the picture."""

    left: float
    top: float
    width: float
    height: float


class PortraitInfo(BaseModel):
    """Portrait that was accepted: its number, its size in pixels, and its faces."""

    portrait: int
    width: int
    height: int
    faces: list[FaceBox]


class DrivingInfo(BaseModel):
    """Video or motion file that was accepted."""

    driving: int
    kind: str
    frames: int
    rate: float
    seconds: float
    sound: bool


class SessionInfo(BaseModel):
    """Session, whose uploads and results are gone when it ends."""

    session: str
    idle_seconds: float


class JobInfo(BaseModel):
    """State of an animation of a file."""

    session: str
    job: int
    state: State
    progress: float  # 0 to 1
    frames: int
    written: int  # frames so far
    before: int  # animations that wait before this one
    seconds_left: float | None
    error: str | None
    result: str | None  # address of the mp4
    motion: str | None  # address of the motion file


class AnimateForm(BaseModel):
    """Form of ``/api/animate``: one portrait, one motion, and options."""

    session: str | None = Field(None, description="a session that was begun; else a new one")
    portrait: UploadFile | None = Field(None, description="a picture")
    portrait_number: int | None = Field(None, description="or one of the session")
    driving: UploadFile | None = Field(None, description="a video, or a motion file (.npz)")
    driving_number: int | None = Field(None, description="or one of the session")
    motion: str | None = Field(None, description="or the name of a motion of the project")
    face: int = Field(0, ge=0, description="number of the face; 0 is the largest")
    head: float = Field(1.0, ge=0, le=2, description="strength of the head's motion")
    expression: float = Field(1.0, ge=0, le=2, description="and of expressions")
    paste: bool = Field(False, description="paste the face back into the whole portrait")
    panels: bool = Field(False, description="portrait, video and result side by side")


@router.get("/info", summary="Network, motions and limits")
async def info(studio: UsesStudio) -> dict[str, Any]:
    return {
        "network": studio.title,
        "size": studio.animator.size,
        "device": str(studio.animator.device),
        "expression": studio.animator.detects_landmarks,
        "crops_faces": studio.policy is not None,
        "label": studio.label,
        "motions": list(studio.motions),
        "limits": asdict(studio.limits),
    }


@router.get("/motions/{name}.webp", summary="A motion of the project, as the example shows it")
async def motion_picture(name: str, studio: UsesStudio) -> FileResponse:
    path = MOTIONS / f"{name}.webp"
    if name not in studio.motions or not path.is_file():
        raise Refusal(404, "There is no picture of this motion.")
    return FileResponse(path, headers={"cache-control": "max-age=3600"})


@router.post("/sessions", status_code=201, summary="Begin a session")
async def begin(studio: UsesStudio) -> SessionInfo:
    return session_info(studio.sessions.begin())


@router.get("/sessions/{session}", summary="Keep a session from ending")
async def keep(session: UsesSession) -> SessionInfo:
    return session_info(session)


@router.delete("/sessions/{session}", status_code=204, summary="End a session")
async def end(session: str, studio: UsesStudio) -> None:
    studio.sessions.end(session)


@router.post("/sessions/{session}/portraits", status_code=201, summary="Upload a portrait")
async def add_portrait(
    session: UsesSession, file: Annotated[UploadFile, File()], studio: UsesStudio
) -> PortraitInfo:
    return portrait_info(session, await studio.add_portrait(session, file))


@router.post("/sessions/{session}/example", status_code=201, summary="Take the example portrait")
async def add_example(session: UsesSession, studio: UsesStudio) -> PortraitInfo:
    return portrait_info(session, await studio.add_example(session))


@router.get("/sessions/{session}/portraits/{portrait}.jpg", summary="A portrait, upright")
async def portrait_picture(session: UsesSession, portrait: int, studio: UsesStudio) -> Response:
    return await studio.pictures.run(jpeg, session.portraits[portrait].picture)


@router.get(
    "/sessions/{session}/portraits/{portrait}/cut.jpg", summary="The part of it that will move"
)
async def cut(
    session: UsesSession,
    portrait: int,
    studio: UsesStudio,
    face: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    chosen = session.portraits[portrait]
    return await studio.pictures.run(lambda: jpeg(studio.cut(chosen, face)))


@router.post(
    "/sessions/{session}/drivings", status_code=201, summary="Upload a video or a motion file"
)
async def add_driving(
    session: UsesSession, file: Annotated[UploadFile, File()], studio: UsesStudio
) -> DrivingInfo:
    number = await studio.add_driving(session, file)
    motion = session.drivings[number].motion
    return DrivingInfo(
        driving=number,
        kind=motion.kind,
        frames=motion.num_frames,
        rate=motion.rate,
        seconds=motion.num_frames / motion.rate,
        sound=motion.has_sound,
    )


@router.post(
    "/animate",
    status_code=202,
    summary="Animate a portrait by a video, a motion file or a motion of the project",
    response_model=JobInfo,
    responses={200: {"content": {"video/mp4": {}}, "description": "With wait: the result."}},
)
async def animate(
    request: Request,
    form: Annotated[AnimateForm, Form(media_type="multipart/form-data")],
    studio: UsesStudio,
    wait: Annotated[bool, Query(description="answer with the mp4 itself")] = False,
) -> Any:
    session = studio.sessions.begin() if form.session is None else studio.sessions[form.session]
    is_own = form.session is None  # and ends with this request, unless its job is to be watched
    try:
        with session:
            number = await unless_gone(request, started(studio, session, form))
            if not wait:
                return job_info(studio, session, number)
            job = session.jobs[number]
            await unless_gone(request, finished(job))
    except BaseException:
        if is_own:
            studio.sessions.end(session.name)
        raise
    ending = BackgroundTask(partial(studio.sessions.end, session.name)) if is_own else None
    return FileResponse(job.output, media_type="video/mp4", background=ending)


async def started(studio: Studio, session: Session, form: AnimateForm) -> int:
    """Begin the animation that a form asks for; return its number."""
    options = AnimationOptions(
        head=form.head,
        expression=form.expression,
        panels=form.panels,
        batch_size=studio.jobs.batch_size,
    )
    portrait = await chosen_portrait(studio, session, form)
    driving = await chosen_driving(studio, session, form)
    return studio.start_job(session, portrait, driving, options, face=form.face, paste=form.paste)


async def chosen_portrait(studio: Studio, session: Session, form: AnimateForm) -> Portrait:
    """Return the portrait that a form gives or names.  Raises Refusal."""
    if (form.portrait is None) == (form.portrait_number is None):
        raise Refusal(422, "Give a portrait, or the portrait_number of one of the session.")
    number = form.portrait_number
    if form.portrait is not None:
        number = await studio.add_portrait(session, form.portrait)
    assert number is not None
    return session.portraits[number]


async def chosen_driving(studio: Studio, session: Session, form: AnimateForm) -> Driving:
    """Return the motion that a form gives or names.  Raises Refusal."""
    given = (form.driving, form.driving_number, form.motion)
    if sum(each is not None for each in given) != 1:
        raise Refusal(422, "Give one of driving, driving_number and motion.")
    if form.motion is not None:
        return studio.bundled_driving(form.motion)
    number = form.driving_number
    if form.driving is not None:
        number = await studio.add_driving(session, form.driving)
    assert number is not None
    return session.drivings[number]


async def finished(job: Job) -> None:
    """Wait for a job, which ends with the wait.  Raises Refusal where it fails."""
    try:
        while not job.is_finished:
            await asyncio.sleep(POLL)
    finally:
        job.cancel()
    if job.state != "done":
        raise Refusal(422, job.error or "The animation was cancelled.")


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work for a client, and leave it where the client goes away.  Raises Refusal."""
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({task}, timeout=POLL))[0]:
            if await request.is_disconnected():
                raise Refusal(400, "The client went away.")
        return task.result()
    finally:
        task.cancel()


@router.get("/sessions/{session}/jobs/{job}", summary="How far an animation has come")
async def look(session: UsesSession, job: int, studio: UsesStudio) -> JobInfo:
    return job_info(studio, session, job)


@router.delete("/sessions/{session}/jobs/{job}", status_code=204, summary="Cancel an animation")
async def cancel(session: UsesSession, job: int) -> None:
    session.jobs[job].cancel()


@router.get("/sessions/{session}/jobs/{job}/preview.jpg", summary="The last frame so far")
async def preview(session: UsesSession, job: int, studio: UsesStudio) -> Response:
    picture = await studio.pictures.run(session.jobs[job].preview)
    if picture is None:
        return Response(status_code=204)
    return Response(picture, media_type="image/jpeg")


@router.get("/sessions/{session}/jobs/{job}/result.mp4", summary="The animation")
async def result(session: UsesSession, job: int) -> FileResponse:
    return video(done(session, job).output, "result.mp4")


@router.get("/sessions/{session}/jobs/{job}/motion.npz", summary="The motion of its video")
async def driving_motion(session: UsesSession, job: int) -> FileResponse:
    motion = done(session, job).motion
    if motion is None:
        raise Refusal(404, "This animation was driven by a motion file: you have it.")
    return FileResponse(motion, filename=f"motion{SUFFIX}", media_type="application/zip")


@router.get("/sessions/{session}/recordings/{number}", summary="A recorded live animation")
async def recording(session: UsesSession, number: int) -> FileResponse:
    return video(session.recordings[number], "live.mp4")


@router.websocket("/live")
async def live(socket: WebSocket, session: str, studio: UsesStudio) -> None:
    try:
        with studio.sessions[session] as found, studio.admitted(found):
            await LiveConnection(socket, found, studio).serve()
    except Refusal as refusal:
        await socket.send_denial_response(refused(refusal))


def done(session: Session, number: int) -> Job:
    """Return an animation of a session.  Raises Refusal where it has no result, or not yet."""
    job = session.jobs[number]
    if job.state != "done":
        raise Refusal(404, "There is no such result, or not yet.")
    return job


def video(path: Path, name: str) -> FileResponse:
    """Answer with an mp4, which browsers show in place and save under this name."""
    return FileResponse(
        path, filename=name, media_type="video/mp4", content_disposition_type="inline"
    )


def session_info(session: Session) -> SessionInfo:
    """Describe a session to its client."""
    return SessionInfo(session=session.name, idle_seconds=session.limits.session_idle_seconds)


def portrait_info(session: Session, number: int) -> PortraitInfo:
    """Describe a portrait to its client."""
    portrait = session.portraits[number]
    height, width, _ = portrait.picture.shape
    boxes = [box.scaled(1 / width, 1 / height) for box in portrait.faces]
    return PortraitInfo(
        portrait=number,
        width=width,
        height=height,
        faces=[
            FaceBox(left=box.left, top=box.top, width=box.width, height=box.height) for box in boxes
        ],
    )


def job_info(studio: Studio, session: Session, number: int) -> JobInfo:
    """Describe an animation to its client."""
    job, place = session.jobs[number], f"/api/sessions/{session.name}/jobs/{number}"
    is_done = job.state == "done"
    has_motion = is_done and job.motion is not None
    return JobInfo(
        session=session.name,
        job=number,
        state=job.state,
        progress=round(job.progress, 4),
        frames=job.num_frames,
        written=job.frames_written,
        before=studio.jobs.num_before(job),
        seconds_left=job.seconds_left,
        error=job.error,
        result=f"{place}/result.mp4" if is_done else None,
        motion=f"{place}/motion{SUFFIX}" if has_motion else None,
    )


def jpeg(picture: Picture) -> Response:
    """Answer with a picture (H, W, 3)."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return Response(file.getvalue(), media_type="image/jpeg")
