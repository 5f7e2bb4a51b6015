import numpy as np
import pytest

from datasets.landmark_files import landmark_file
from tests.datasets.conftest import save, solid, write_clip
from utils.errors import InputError


def test_pixels_of_a_frame_become_coordinates_of_the_network(tmp_path):
    clip = write_clip(tmp_path / "train" / "a#1.mp4", num_frames=4)
    landmarks = np.full((4, 68, 2), np.nan, np.float16)
    landmarks[2] = (63, 0)  # the corner pixel, to the right and above
    (tmp_path / "marks" / "train").mkdir(parents=True)
    np.save(tmp_path / "marks" / "train" / "a#1.mp4.npy", landmarks)
    file = landmark_file(tmp_path / "marks", clip)
    first, second = file.read([1, 2])
    assert np.isnan(first).all()
    np.testing.assert_allclose(second, np.tile([1, -1], (68, 1)))


def test_a_picture_may_have_landmarks_too_and_a_clip_may_have_none(tmp_path):
    picture = save(tmp_path / "a#1.png", solid(0, 11, 21))
    (tmp_path / "marks").mkdir()
    assert landmark_file(tmp_path / "marks", picture) is None
    np.save(tmp_path / "marks" / "a#1.png.npy", np.full((1, 68, 2), 5.0, np.float32))
    file = landmark_file(tmp_path / "marks", picture)
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
    clip = write_clip(tmp_path / "train" / "a.mp4", num_frames=4)
    path = tmp_path / "marks" / "a.mp4.npy"
    path.parent.mkdir()
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    file = landmark_file(tmp_path / "marks", clip)
    with pytest.raises(InputError, match=match):
        file.read([0, 3])
