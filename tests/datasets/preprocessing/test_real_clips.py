"""Real faces in larger frames, cut out again: against the frames themselves, directly resized."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.__main__ import main
from datasets.records import read_face_crop
from media.pictures import Picture
from media.video import read_frames
from media.writers import VideoWriter
from tests.datasets.preprocessing.conftest import write_table
from tests.evaluation.real_frames import CLIPS, needs_clips

WIDTH, HEIGHT = 800, 600
LEAD = 30  # frames at 25 a second before the clip begins
NUM_FRAMES = 40

pytestmark = needs_clips


def psnr(one: Picture, other: Picture) -> float:
    return float(-10 * np.log10(np.mean((one / 255 - other / 255) ** 2)))


def resized(image: Picture, width: int, height: int) -> Picture:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def embed(path: Path, frames: list[Picture], place: tuple[int, int], rate: Fraction) -> None:
    """A video of this rate in which frames, 25 a second, stand at a place of a still picture."""
    height, width, _ = frames[0].shape
    x, y = place
    picture = resized(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), WIDTH, HEIGHT)
    picture = picture.copy()
    with VideoWriter(path, rate, crf=4, key_frame_every=50) as writer:
        for number in range(int(Fraction(LEAD + NUM_FRAMES + 10, 25) * rate)):
            shown = int(number / rate * 25) - LEAD
            picture[y : y + height, x : x + width] = frames[min(max(shown, 0), NUM_FRAMES - 1)]
            writer.write(picture)


@pytest.mark.parametrize(
    ("number", "rate", "size"),
    [(0, Fraction(24), (300, 366)), (9, Fraction(30000, 1001), (256, 256)), (20, 50, (420, 512))],
)
def test_clips_come_out_of_larger_videos_as_they_went_in(tmp_path, number, rate, size):
    rate = Fraction(rate)
    clip = sorted(CLIPS.glob("*.mp4"))[number]
    small = [frame.image for frame, _ in zip(read_frames(clip), range(NUM_FRAMES), strict=False)]
    frames = [resized(frame, *size) for frame in small]
    x, y = 131, 47
    (tmp_path / "videos").mkdir()
    embed(tmp_path / "videos" / "raw.mp4", frames, (x, y), rate)
    box = [2 * side for side in (x, y, x + size[0], y + size[1])]  # in a table of twice the size
    row: dict[str, object] = {
        "video_id": "raw",
        "start": LEAD,
        "end": LEAD + NUM_FRAMES,
        "bbox": "-".join(map(str, box)),
        "width": 2 * WIDTH,
        "height": 2 * HEIGHT,
    }
    table, root = write_table(tmp_path / "table.csv", [row]), tmp_path / "root"
    given = ["--metadata", table, "--videos", tmp_path / "videos", "--output", root]
    assert main(["voxceleb", *map(str, given), "--workers", "1"]) == 0
    (path,) = (root / "train").glob("*.mp4")
    found = [frame.image for frame in read_frames(path)]
    assert len(found) == NUM_FRAMES
    truth = [resized(frame, 256, 256) for frame in frames]
    for n, picture in enumerate(found):
        raw_number = int(np.ceil(Fraction(2 * (LEAD + n) + 1, 50) * rate)) - 1
        expected = int(raw_number / rate * 25) - LEAD
        assert psnr(picture, truth[max(expected, 0)]) > 35
        if n in (0, NUM_FRAMES - 1):  # a frame of the clip, and no other is more like it
            likest = max(range(NUM_FRAMES), key=lambda k: psnr(picture, truth[k]))
            assert psnr(truth[likest], truth[expected]) > 40
    face_crop = read_face_crop(root)
    if face_crop is not None:  # the cascade does not find every face
        assert face_crop.aspect == pytest.approx(size[1] / size[0], abs=1e-3)
