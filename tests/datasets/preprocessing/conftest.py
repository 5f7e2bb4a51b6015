"""Raw videos whose frames tell their time, and tables of clips in them."""

import csv
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from media.pictures import Picture

WIDTH, HEIGHT = 160, 120  # of raw videos


def shown_at(seconds: Fraction, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """Draw the picture of a raw video at a time: smooth colours that encode the fiftieth second."""
    level = 25 + 4 * (int(seconds * 50) % 50)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([40 + x * 150, np.full_like(x, level), 200 - y * 150], -1).astype(np.uint8)


def assert_shown_at(pictures: Sequence[Picture], fiftieths: Sequence[int]) -> None:
    """Checks by their green that frames are those shown in these fiftieth seconds."""
    greens = np.array([picture[..., 1].mean() for picture in pictures])
    late = (greens - 25) / 4 - fiftieths  # by how much, up to whole seconds
    np.testing.assert_allclose((late + 25) % 50 - 25, 0, atol=0.7)


def write_raw(path: Path, rate: Fraction, seconds: float) -> Path:
    """A raw video of any rate, in the container of its ending, with a key frame every 40 frames."""
    with av.open(str(path), "w") as container:
        options = {"crf": "4", "g": "40", "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(round(seconds * rate)):
            frame = av.VideoFrame.from_ndarray(shown_at(number / rate), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_table(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    """A metadata table; what a row leaves out is usual."""
    usual = {
        "bbox": "20-10-100-106",
        "fps": 25.0,
        "width": WIDTH,
        "height": HEIGHT,
        "partition": "train",
        "person_id": "id10001",
    }
    with path.open("w", newline="") as file:
        columns = ["video_id", "start", "end", *usual]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(usual | row for row in rows)
    return path
