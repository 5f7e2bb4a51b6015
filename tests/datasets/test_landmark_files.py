from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.landmark_files import landmark_file
from media.video import VideoWriter
from utils.errors import InputError


def write_clip(path: Path, num_frames: int = 4) -> Path:
    path.parent.mkdir(parents=True)
    with VideoWriter(path, Fraction(25)) as writer:
        for _ in range(num_frames):
            writer.write(np.zeros((24, 32, 3), np.uint8))
    return path


def write_landmarks(path: Path, landmarks: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, landmarks)
    return path


def test_pixels_of_a_frame_become_coordinates_of_the_network(tmp_path):
    clip = write_clip(tmp_path / "train" / "a#1.mp4")
    landmarks = np.full((4, 68, 2), np.nan, np.float16)
    landmarks[2] = (31, 0)  # the corner pixel, to the right and above
    write_landmarks(tmp_path / "marks" / "train" / "a#1.mp4.npy", landmarks)
    file = landmark_file(tmp_path / "marks", clip)
    assert file is not None
    first, second = file.read([1, 2])
    assert np.isnan(first).all()
    np.testing.assert_allclose(second, np.tile([1, -1], (68, 1)))


def test_a_picture_may_have_landmarks_too_and_a_clip_may_have_none(tmp_path):
    picture = tmp_path / "a#1.png"
    Image.fromarray(np.zeros((11, 21, 3), np.uint8)).save(picture)
    assert landmark_file(tmp_path / "marks", picture) is None
    write_landmarks(tmp_path / "marks" / "a#1.png.npy", np.full((1, 68, 2), 5.0, np.float32))
    file = landmark_file(tmp_path / "marks", picture)
    assert file is not None
    np.testing.assert_allclose(file.read([0])[0, 0], [2 * 5 / 20 - 1, 2 * 5 / 10 - 1])


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"no array", "is not a readable file of landmarks"),
        (np.zeros((4, 5, 2), np.float32), r"not landmarks \(frames, 68, 2\)"),
        (np.zeros((4, 68, 2), np.int64), "int64"),
        (np.zeros((2, 68, 2), np.float32), "landmarks of 2 frames: there is no frame 3"),
    ],
)
def test_a_file_that_is_none_is_told_in_a_sentence(tmp_path, content, match):
    clip = write_clip(tmp_path / "train" / "a.mp4")
    path = tmp_path / "marks" / "a.mp4.npy"
    if isinstance(content, bytes):
        path.parent.mkdir()
        path.write_bytes(content)
    else:
        write_landmarks(path, content)
    file = landmark_file(tmp_path / "marks", clip)
    with pytest.raises(InputError, match=match):
        file.read([0, 3])
