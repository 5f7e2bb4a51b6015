"""Animate a portrait by a camera over one WebSocket, whose messages ``docs/app.md`` lists.

Both sides send pictures as a time stamp (8 bytes: milliseconds, a big-endian float64) and a JPEG,
and all else as JSON.  Time stamps rise.  An answer settles all pictures up to its time stamp: of
several that have come, the newest is animated and the others are dropped, so that the delay never
grows.
"""

import asyncio
import io
import json
import math
import struct
import time
import zlib
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from animation.cropper import fit_source
from animation.live import LiveAnimation
from animation.motion_transfer import MotionStrength
from media.file_kinds import InMemoryFile
from media.pictures import Picture, open_picture, read_image
from utils.errors import InputError
from web.label import labelled
from web.limits import FAULT, Limits, Refusal
from web.network_queue import Cancelled
from web.recording import Recording
from web.sessions import OVER, Session
from web.studio import Studio
from web.uploads import face_of

STAMP = struct.Struct(">d")
LATEST = 1e15  # milliseconds
JPEG = b"\xff\xd8\xff"
JPEG_QUALITY = 88
TEXT_LENGTH = 2000  # characters of a message
POLICY_VIOLATION, GOING_AWAY, FAILED = 1008, 1001, 1011  # codes that close a WebSocket


class Message(BaseModel):
    """Message of a client."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["start", "neutral", "strength", "record", "stop"]
    portrait: int = 0
    face: int = Field(default=0, ge=0)
    head: float = Field(default=1.0, ge=0, le=2)
    expression: float = Field(default=1.0, ge=0, le=2)


class Newest:
    """Slot for one item, in which a newer one takes the place of an older."""

    def __init__(self) -> None:
        self._item: tuple[float, bytes] | None = None
        self._came = asyncio.Event()

    def put(self, stamp: float, data: bytes) -> None:
        self._item = stamp, data
        self._came.set()

    async def take(self) -> tuple[float, bytes]:
        await self._came.wait()
        self._came.clear()
        assert self._item is not None
        item, self._item = self._item, None
        return item


class LiveConnection:
    """One WebSocket: a task that receives, and one that animates and sends."""

    def __init__(self, socket: WebSocket, session: Session, studio: Studio) -> None:
        self.socket, self.session, self.studio = socket, session, studio
        self.limits, self.threads = studio.limits, studio.live
        self.newest = Newest()
        self.animation: LiveAnimation | None = None
        self.recording: Recording | None = None
        self.last_stamp = -math.inf
        self.was_still = False
        self._search: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Serve the client until it leaves, or does what is not allowed."""
        await self.socket.accept()
        tasks = [asyncio.create_task(work) for work in (self.receive(), self.answer())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self.say_why(*(task.exception() for task in done))
        finally:
            for task in (*tasks, self._search):
                if task is not None:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.recording is not None:
                self.recording.discard()

    async def say_why(self, *errors: BaseException | None) -> None:
        """Tell the client in one sentence why it ends, where that is not of its own will."""
        error = next((each for each in errors if each is not None), None)
        if error is None or isinstance(error, WebSocketDisconnect):
            return
        if self.session.is_over and isinstance(error, OSError):  # its files are gone
            error = Refusal(404, OVER)
        code, sentence = POLICY_VIOLATION, self.session.without_paths(str(error))
        is_expected = isinstance(error, InputError | Refusal | Cancelled | asyncio.TimeoutError)
        if isinstance(error, Cancelled):
            code, sentence = GOING_AWAY, "The server ends."
        elif isinstance(error, asyncio.TimeoutError):
            sentence = "The answers are not read."
        elif not is_expected:
            code, sentence = FAILED, FAULT
        with suppress(asyncio.TimeoutError, RuntimeError, WebSocketDisconnect):  # it may be gone
            await asyncio.wait_for(self.close(code, sentence), 1)
        if not is_expected:
            raise error

    async def close(self, code: int, sentence: str) -> None:
        await self.socket.send_text(json.dumps({"type": "error", "error": sentence}))
        await self.socket.close(code)

    async def send(self, message: dict[str, Any] | bytes) -> None:
        """Send a message.  Raises TimeoutError where the client does not read."""
        if isinstance(message, bytes):
            sending = self.socket.send_bytes(message)
        else:
            sending = self.socket.send_text(json.dumps(message))
        await asyncio.wait_for(sending, self.limits.stall_seconds)

    async def receive(self) -> None:
        """Read messages until the client leaves; pictures go to the slot of the newest."""
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code") or 1005)
            if self.session.is_over:
                raise Refusal(404, OVER)
            data, text = message.get("bytes"), message.get("text")
            if data is not None:
                self.take_picture(data)
            else:
                await self.obey(parse(text or ""))

    def take_picture(self, data: bytes) -> None:
        """Note a picture of the camera.  Raises InputError for anything else."""
        if self.animation is None:
            raise InputError('A picture came before the message {"type": "start", ...}.')
        if len(data) <= STAMP.size or not data[STAMP.size :].startswith(JPEG):
            raise InputError("A picture is sent as 8 bytes of a time stamp and a JPEG.")
        (stamp,) = STAMP.unpack(data[: STAMP.size])
        if not (math.isfinite(stamp) and abs(stamp) < LATEST and stamp > self.last_stamp):
            raise InputError("Time stamps are milliseconds, each greater than the one before.")
        self.last_stamp = stamp
        self.newest.put(stamp, data[STAMP.size :])

    async def obey(self, message: Message) -> None:
        """Do what a message asks for."""
        self.studio.require_expression(message.expression)
        strength = MotionStrength(message.head, message.expression)
        if message.type == "start":
            await self.start(message, strength)
        elif self.animation is None:
            raise InputError('The first message is {"type": "start", ...}.')
        elif message.type == "neutral":
            self.animation.set_neutral()
        elif message.type == "strength":
            self.animation.strength = strength
        elif message.type == "record":
            if self.recording is None:
                self.studio.sessions.require_room(0)
                path = self.session.new_path(".mp4")
                self.recording = Recording(
                    path, self.limits.recording_seconds, self.studio.provenance
                )
        elif self.recording is not None:
            await self.stop_recording()

    async def start(self, message: Message, strength: MotionStrength) -> None:
        """Begin with a portrait; again with another one, if asked for."""
        if self.recording is not None:  # results of the next portrait may be of another size
            await self.stop_recording()
        portrait = self.session.portraits[message.portrait]
        animator, policy = self.studio.animator, self.studio.policy
        face = face_of(portrait, message.face)
        fitted = await self.threads.run(
            fit_source, animator, portrait.picture, policy, "the portrait", face=face
        )
        self.animation = LiveAnimation(animator, fitted, policy, strength=strength)
        self.was_still = False
        self._search = None  # one for the animation before finds nothing for this one
        height, width, _ = fitted.to_output(fitted.picture).shape
        await self.send({"type": "ready", "width": width, "height": height})

    async def answer(self) -> None:
        """Animate the newest picture, again and again."""
        while True:
            stamp, data = await self.newest.take()
            animation = self.animation
            assert animation is not None
            seconds = time.monotonic()
            picture = await self.threads.run(decoded, data, self.limits)
            if animation.follower is not None:
                await self.search(animation, picture, seconds)
            frame = await self.threads.run(animation.crop, picture)
            if frame is None:
                await self.send({"type": "face", "seen": False, "time": stamp})
                continue
            call = self.studio.queue.submit(partial(animation.animate, frame, seconds), live=True)
            result = await asyncio.wrap_future(call)
            await self.send(STAMP.pack(stamp) + await self.threads.run(self.finish, result, stamp))
            if not self.was_still and animation.is_still:
                self.was_still = True
                await self.send({"type": "still"})
            if self.recording is not None and self.recording.is_full:
                await self.stop_recording()

    async def search(self, animation: LiveAnimation, picture: Picture, seconds: float) -> None:
        """Search the face beside the frames that follow; wait for it where none is known."""
        assert animation.follower is not None
        if self._search is not None and self._search.done():
            self._search.result()
            self._search = None
        if self._search is None:
            self._search = asyncio.create_task(
                self.studio.searches.run(animation.follow_face, picture, seconds)
            )
        if animation.follower.crop is None:
            await self._search

    def finish(self, result: Picture, stamp: float) -> bytes:
        """Label a frame, record it where it is wanted, and encode it as a JPEG."""
        if self.studio.label:
            result = labelled(result)
        recording = self.recording  # which may end meanwhile, on the server's loop
        if recording is not None:
            recording.add(result, stamp)
        file = io.BytesIO()
        Image.fromarray(result).save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()

    async def stop_recording(self) -> None:
        """Complete the recording and tell where it is."""
        recording, self.recording = self.recording, None
        assert recording is not None
        if recording.num_frames == 0:
            recording.discard()
            await self.send({"type": "recorded", "url": None, "frames": 0, "seconds": 0})
            return
        await self.threads.run(recording.finish)
        number = self.session.recordings.add(recording.path)
        await self.send(
            {
                "type": "recorded",
                "url": f"/api/sessions/{self.session.name}/recordings/{number}",
                "frames": recording.num_frames,
                "seconds": round(recording.seconds, 3),
            }
        )


def parse(text: str) -> Message:
    """Parse a message of a client.  Raises InputError for what is none."""
    try:
        if len(text) > TEXT_LENGTH:
            raise ValueError
        return Message.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(
            'Messages are JSON: "start", "neutral", "strength", "record" or "stop" as their type.'
        ) from error


def decoded(data: bytes, limits: Limits) -> Picture:
    """Decode a picture of the camera.  Raises InputError."""
    file = InMemoryFile("A picture of the camera", data, zlib.crc32(data))
    with open_picture(file) as opened:
        if opened.width * opened.height > limits.frame_pixels:
            raise InputError(
                f"Pictures of the camera have at most {limits.frame_pixels} pixels: found "
                f"{opened.width} x {opened.height}."
            )
    return np.ascontiguousarray(read_image(file))
