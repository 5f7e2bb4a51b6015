import numpy as np

from benchmarks.clips import RATE, head_frames, there_and_back, write_clip
from media.video import probe, read_frames


def test_numbers_go_there_and_back():
    assert [there_and_back(number, 4) for number in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]


def test_frames_are_those_of_one_head_in_motion():
    first, second = head_frames(2, (32, 48))
    assert first.shape == (32, 48, 3)
    assert first.dtype == np.uint8
    difference = np.abs(first.astype(int) - second).mean()
    assert 0 < difference < 20


def test_a_clip_lasts_as_long_as_asked(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 0.2, (32, 32))
    video = probe(path)
    assert (video.rate, video.num_frames) == (RATE, 5)
    frames = [frame.image.astype(int) for frame in read_frames(path)]
    originals = head_frames(2 * RATE, (32, 32))
    assert all(
        np.abs(one - other).mean() < 10 for one, other in zip(frames, originals, strict=False)
    )
