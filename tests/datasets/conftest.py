"""Small clips, made on the spot."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from datasets.records import ClipRecord, record_path
from media.pictures import Box, Picture
from media.video import VideoWriter


def moving_bar(number: int, height: int = 48, width: int = 64) -> Picture:
    """A frame that tells its number (below 60): a bar grows over a background that changes."""
    image = np.full((height, width, 3), (40, 90, 160), np.uint8)
    image[: height // 2, : 2 + number] = (220, 60, 40)
    image[height // 2 :] = (4 * number, 200, 255 - 4 * number)
    return image


def distance(image: Picture, other: Picture) -> float:
    """Mean absolute difference, of 255."""
    assert image.shape == other.shape
    return float(np.abs(image.astype(int) - other.astype(int)).mean())


def solid(level: float | tuple[int, int, int], height: int = 32, width: int = 32) -> Picture:
    """A picture of one grey or colour."""
    return np.full((height, width, 3), level, np.uint8)


def save(path: Path, picture: Picture) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def write_frames(folder: Path, pictures: Iterable[Picture], name: str = "{:07d}.png") -> Path:
    """A folder of frames, or a clip of a data set in this form."""
    for number, picture in enumerate(pictures):
        save(folder / name.format(number), picture)
    return folder


def write_video(path: Path, pictures: Iterable[Picture], rate: float = 25, **form: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(rate), **form) as writer:
        for picture in pictures:
            writer.write(picture)
    return path


def write_clip(path: Path, num_frames: int = 30, rate: float = 25) -> Path:
    return write_video(path, map(moving_bar, range(num_frames)), rate)


def contents(root: Path) -> dict[str, bytes]:
    """All files of a data set, hidden ones too, but for the locks."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".lock")
    }


def kill_when(
    happened: Callable[[], object], *command: object, code: str = "", delay: float = 0
) -> int | None:
    """Run ``python -m datasets`` or ``code``, kill it after an event, and return its exit code.

    That is None where it was still running.
    """
    program = ["-c", code] if code else ["-m", "datasets"]
    process = subprocess.Popen(
        [sys.executable, *program, *map(str, command)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not happened():
        time.sleep(0.002)
    time.sleep(delay)
    ended = process.poll()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return ended


def assert_equal(one: tuple, other: tuple) -> None:
    """Two pairs or batches are the same, to the bit."""
    import torch  # here, since processes of other tests import this file

    torch.testing.assert_close(one[:3], other[:3], rtol=0, atol=0, equal_nan=True)
    assert one[3:] == other[3:]


def write_record(clip: Path, **values: object) -> ClipRecord:
    """The record of a clip, written beside it; values that are not given are usual ones."""
    usual = {
        "video": "raw.mp4",
        "frames": (0, 30),
        "video_size": (640, 480),
        "video_rate": "25",
        "boxes": "published",
        "box": Box(0, 0, 100, 120),
        "aspect": 1.2,
        "size": (64, 64),
    }
    record = ClipRecord(**usual | values)
    record.write_json(record_path(clip))
    return record


def here(work, jobs, workers, died):
    """``map_in_processes`` without processes, which take seconds to begin."""
    return ((job, work(job)) for job in jobs)


def encode(path: Path, codec: str = "libx264", num_frames: int = 30, **settings: object) -> Path:
    """A video from PyAV directly, in any container and codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for name, value in settings.items():
            setattr(stream, name, value)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(moving_bar(number), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def encode_with_sound(path: Path, codec: str, seconds: float = 2.0) -> Path:
    """Two seconds of video with a tone of another length."""
    rate = 48000
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        sound.layout, sound.bit_rate = "mono", 96_000
        tone = 9000 * np.sin(np.arange(int(seconds * rate)) / 20)
        samples = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], layout="mono")
        samples.sample_rate, samples.pts = rate, 0
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(moving_bar(number), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


def join(path: Path, *recordings: Path, counting_on: bool = False) -> Path:
    """Recordings appended to each other, as ``cat`` does; ``counting_on`` for transport streams.

    Then the counters of the packets of 188 bytes go on from one recording to the next.
    """
    data = bytearray(b"".join(recording.read_bytes() for recording in recordings))
    counters: dict[int, int] = {}
    for start in range(0, len(data) if counting_on else 0, 188):
        stream = (data[start + 1] & 0x1F) << 8 | data[start + 2]
        has_payload = data[start + 3] >> 4 & 1
        counters[stream] = (counters.get(stream, 15) + has_payload) % 16
        data[start + 3] = data[start + 3] & 0xF0 | counters[stream]
    path.write_bytes(data)
    return path


def encode_with_gaps(path: Path, codec: str, left_out: set[int], num_frames: int = 50) -> Path:
    """An AVI with a tone, in which some frames are empty packets, as recorders leave them out."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "12", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for number in set(range(num_frames)) - left_out:
            frame = av.VideoFrame.from_ndarray(moving_bar(number), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        tone = 9000 * np.sin(np.arange(num_frames * 1920) / 20)
        samples = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], layout="mono")
        samples.sample_rate, samples.pts = 48000, 0
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """30 frames at 25 frames/s, a key frame every 12."""
    return write_clip(tmp_path / "clip.mp4")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For tests that fork: a process whose threads have worked may hang then."""
    import torch  # here, since processes of other tests import this file

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """States in an mp4: a stored pixel is shown at x' = a x + c y, y' = b x + d y (y downwards)."""
    data = path.read_bytes()
    one = struct.pack(">i", 1 << 16)
    start = data.index(one + bytes(12) + one, data.index(b"tkhd"))  # the matrix of the track
    matrix = struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16)
    path.write_bytes(data[:start] + matrix + data[start + len(matrix) :])
    return path


def encode_sizes(path: Path, sizes: Sequence[tuple[int, int]], each: int = 5) -> Path:
    """A video whose frames change to each of ``sizes`` (H, W), as those of recorded calls do."""
    with av.open(str(path), "w") as container:
        height, width = sizes[0]
        stream = container.add_stream("libvpx", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for part, (height, width) in enumerate(sizes):
            encoder = av.CodecContext.create("libvpx", "w")
            encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
            encoder.time_base = Fraction(1, 25)
            frames = [moving_bar(3 * (part * each + n), height, width) for n in range(each)]
            pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
            for number, picture in enumerate(pictures):
                picture.pts = number
            packets = [p for picture in pictures for p in encoder.encode(picture)]
            for packet in packets + encoder.encode(None):
                packet.pts += part * each
                packet.dts = packet.pts
                packet.time_base, packet.stream = Fraction(1, 25), stream
                container.mux(packet)
    return path
