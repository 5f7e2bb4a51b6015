"""An mp4 of what was seen live."""

import numpy as np
import pytest

from media.video import probe, read_frames
from tests.animating import moving_square
from web.recording import Recording


def test_frames_keep_their_times_and_those_of_another_size_are_left_out(tmp_path):
    recording = Recording(tmp_path / "live.mp4", longest=60)
    for number, frame in enumerate(moving_square(4)):
        recording.add(frame, 1000 + 50 * number)
        recording.add(np.zeros((64, 64, 3), np.uint8), 1010 + 50 * number)
    recording.finish()
    recording.add(np.zeros((32, 32, 3), np.uint8), 2000)  # too late
    times = [float(frame.time) for frame in read_frames(tmp_path / "live.mp4")]
    assert times == pytest.approx([0, 0.05, 0.1, 0.15])
    assert recording.num_frames == probe(tmp_path / "live.mp4").num_frames == 4


def test_it_is_full_after_its_longest_time_or_by_too_many_frames(tmp_path):
    recording = Recording(tmp_path / "live.mp4", longest=0.1)
    (frame,) = moving_square(1)
    recording.add(frame, 0)
    assert not recording.is_full
    for milliseconds in range(1, 7):
        recording.add(frame, milliseconds)
    assert recording.is_full
    recording.discard()
    other = Recording(tmp_path / "other.mp4", longest=0.1)
    other.add(frame, 0)
    other.add(frame, 100)
    assert other.is_full
    other.discard()
    late = Recording(tmp_path / "late.mp4", longest=0.1)
    late.add(frame, 0)
    late.add(frame, 1e9)  # of a clock that was set, for example
    assert late.is_full
    assert (late.num_frames, late.seconds) == (1, 0)
    late.discard()
    assert not list(tmp_path.iterdir())
