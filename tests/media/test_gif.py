import random

import numpy as np
import pytest

from media.video import frames_at, probe, read_frames
from tests.damaged import rewritten
from tests.datasets.conftest import write_clip
from utils.errors import InputError

COMMENT = b"!\xfe\x05hello\0"


@pytest.fixture
def gif(tmp_path):
    return write_clip(tmp_path / "clip.gif", num_frames=6)


def test_a_gif_with_another_end_has_all_its_frames(gif):
    whole, expected = gif.read_bytes(), [frame.image for frame in read_frames(gif)]
    assert whole.endswith(b"\0;")
    ends = {
        "without its end mark": whole[:-1],
        "without the end of its last picture's data": whole[:-2],
        "with zeros": whole + bytes(3000),
        "with text": whole + b"<html>;</html>",
        "with noise": whole + random.Random(0).randbytes(3000),
        "with another GIF": whole + whole,
        "with a comment": whole[:-1] + COMMENT + b";",
        "with a comment and no end mark": whole[:-1] + COMMENT,
        "with noise in the place of its end mark": whole[:-1] + b"noise" * 300,
    }
    for name, data in ends.items():
        path = rewritten(gif, f"{name}.gif", data)
        assert probe(path).num_frames == 6, name
        np.testing.assert_array_equal([frame.image for frame in read_frames(path)], expected, name)
        np.testing.assert_array_equal(frames_at(path, [5, 0]), [expected[5], expected[0]], name)


@pytest.mark.parametrize("missing", [3, 10, 100])
def test_a_gif_that_ends_within_a_frame_is_damaged(gif, missing):
    path = rewritten(gif, "cut.gif", gif.read_bytes()[:-missing])
    for read in (probe, lambda path: list(read_frames(path))):
        with pytest.raises(InputError, match=r"cut\.gif is damaged: it ends within a frame\.$"):
            read(path)


@pytest.mark.parametrize("length", [6, 12, 13, 20])
def test_a_gif_without_a_picture_is_one_sentence(gif, length):
    path = rewritten(gif, "empty.gif", gif.read_bytes()[:length])
    with pytest.raises(InputError, match=r"^[^\n]*empty\.gif[^\n]*\.$"):
        probe(path)
