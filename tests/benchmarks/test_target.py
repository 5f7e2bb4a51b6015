import numpy as np

from benchmarks.target import RATE, head_frames, write_clip
from media.video import probe, read_frames


def test_frames_are_those_of_one_head_in_motion():
    first, second = head_frames(2, (32, 48))
    assert first.shape == (32, 48, 3)
    assert first.dtype == np.uint8
    difference = np.abs(first.astype(int) - second).mean()
    assert 0 < difference < 20


def test_a_clip_lasts_as_long_as_asked_and_turns_back_at_its_end(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", 2.2, (32, 32))
    video = probe(path)
    assert (video.rate, video.num_frames) == (RATE, 55)
    frames = [frame.image.astype(int) for frame in read_frames(path)]
    originals = head_frames(2 * RATE, (32, 32))
    originals = [*originals, *reversed(originals)]
    del originals[50]  # the last frame is not shown twice
    assert all(np.abs(frames[i] - originals[i]).mean() < 10 for i in range(55))
