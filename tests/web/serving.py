"""A tiny network that moves behind a real server, and portraits and motions for it."""

import io
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from PIL import Image
from skimage import data

from animation.animator import Animator
from animation.cropper import choose_policy
from tests.animating import SIZE, moving_square, write_checkpoint, write_clip
from web.limits import Limits
from web.server import Server, create_app
from web.studio import Studio

FACE_CROP = {"aspect": 1.0, "face_x": 0.5, "face_y": 0.48, "face_width": 0.55}
STAMP = struct.Struct(">d")


def tiny_studio(
    folder: Path, *, limits: Limits | None = None, faces: bool = True, **options: Any
) -> Studio:
    """A studio with a tiny network; with ``faces`` it crops them."""
    data = {"face_crop": FACE_CROP} if faces else {}
    checkpoint = write_checkpoint(folder / "tiny.safetensors", **data)
    animator = Animator.from_checkpoint(checkpoint, device="cpu")
    policy = choose_policy(None, False, checkpoint)
    files = folder / "files"
    files.mkdir(exist_ok=True)
    return Studio(animator, policy, title="tiny", limits=limits, folder=files, **options)


class Running(NamedTuple):
    """A server on a thread of this process."""

    studio: Studio
    port: int
    token: str | None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def live_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/api/live"

    @property
    def files(self) -> list[Path]:
        """All files and folders that the server keeps."""
        return sorted(self.studio.sessions.folder.rglob("*"))

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def session(self) -> str:
        with self.client() as client:
            return str(client.post("/api/sessions").raise_for_status().json()["session"])


@contextmanager
def served(studio: Studio, *, token: str | None = None, local: bool = True) -> Iterator[Running]:
    """Serve a studio on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = create_app(studio, token=token, local=local)
    server = Server(app, studio, host="127.0.0.1", port=port)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.02)
        yield Running(studio, port, token)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        studio.close()
    assert not thread.is_alive()


def encoded(picture: np.ndarray, kind: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def astronaut(side: int = 256) -> np.ndarray:
    return np.asarray(Image.fromarray(data.astronaut()).resize((side, side)))


def portrait_jpeg(side: int = 256) -> bytes:
    return encoded(astronaut(side))


def clip(folder: Path, num_frames: int = 8) -> bytes:
    return write_clip(folder / "clip.mp4", num_frames).read_bytes()


def camera(num_frames: int) -> list[bytes]:
    """JPEGs of a square that moves, for a network without faces."""
    return [encoded(frame) for frame in moving_square(num_frames, SIZE, SIZE)]


def packet(milliseconds: float, jpeg: bytes) -> bytes:
    return STAMP.pack(milliseconds) + jpeg


def told(message: str | bytes) -> dict[str, Any]:
    """A message of the server as a dict; a picture as its time and size."""
    if isinstance(message, str):
        found: dict[str, Any] = json.loads(message)
        return found
    with Image.open(io.BytesIO(message[STAMP.size :])) as image:
        return {
            "type": "picture",
            "time": STAMP.unpack(message[: STAMP.size])[0],
            "size": image.size,
        }


def wait_for_job(client: httpx.Client, job: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """Ask for the state of a job until it has ended."""
    until = time.monotonic() + seconds
    while True:
        answer = client.get(f"/api/sessions/{job['session']}/jobs/{job['job']}")
        state: dict[str, Any] = answer.raise_for_status().json()
        if state["state"] in ("done", "failed", "cancelled"):
            return state
        assert time.monotonic() < until, state
        time.sleep(0.05)
