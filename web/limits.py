"""Limits of what clients may send, keep and wait for, and the refusals that name them."""

from dataclasses import dataclass

MB = 10**6
FAULT = "The server failed: its log says more."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server; seconds, bytes and pixels."""

    portrait_bytes: int = 40 * MB
    portrait_pixels: int = 80_000_000
    portrait_side: int = 2048  # larger portraits are made smaller
    driving_bytes: int = 300 * MB
    driving_pixels: int = 4096 * 2304  # of a frame
    driving_frames: int = 9000  # five minutes at 30 frames per second
    animation_pixels: int = 2 * 10**9  # of all frames of an animated picture, which are decoded
    motion_bytes: int = 64 * MB  # of a motion file when it is decompressed
    form_bytes: int = 64_000  # of a request without files
    upload_seconds: float = 600
    stall_seconds: float = 30  # without a byte of an upload, or without reading an answer
    frame_bytes: int = MB  # of a picture of the camera
    frame_pixels: int = 2_100_000
    sessions: int = 32
    session_idle_seconds: float = 900
    portraits: int = 6  # of a session; the oldest goes
    drivings: int = 3
    results: int = 6
    stored_bytes: int = 4000 * MB  # of all sessions
    running: int = 2  # animations of files at once
    waiting: int = 24
    waiting_of_session: int = 3
    live: int = 8
    recording_seconds: float = 600


class Refusal(Exception):
    """Refusal of a request: an HTTP status, one sentence, and when to try again."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}


def no_room() -> Refusal:
    """Refuse a file beside all those that are stored or sent."""
    return Refusal(503, "The server has no room for this file now: try again later.", 60)


def too_large(name: str, limit: int) -> Refusal:
    """Refuse a file of more than ``limit`` bytes."""
    return Refusal(413, f"{name} is too large: at most {limit / MB:.3g} MB are accepted.")
