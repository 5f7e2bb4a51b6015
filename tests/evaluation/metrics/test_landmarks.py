from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animation.animator import Animator
from animation.best_frame import NetworkLandmarks
from evaluation.metrics.interface import Frames
from evaluation.metrics.landmarks import (
    CachedLandmarks,
    GivenLandmarks,
    KeypointDistance,
    given_files,
    has_face,
)
from modules.landmark_detector import LandmarkDetectorConfig
from tests.tiny import TINY, tiny_model
from utils.errors import InputError


def test_landmarks_of_the_same_array_are_found_once():
    asked = []

    def landmarks(frames):
        asked.append(frames)
        return np.full((len(frames), 68, 2), len(asked), float)

    cached = CachedLandmarks(landmarks, capacity=2)
    source, real, generated = (np.zeros((1, 8, 9, 3), np.uint8) for _ in range(3))
    assert [cached(frames)[0, 0, 0] for frames in (source, real, source)] == [1, 2, 1]
    assert cached(generated)[0, 0, 0] == 3  # equal pixels, another array
    assert cached(source)[0, 0, 0] == 1  # asked for more recently than ``real``
    assert cached(real)[0, 0, 0] == 4  # forgotten
    assert len(cached.found) == 2


def test_a_face_is_there_where_no_landmark_is_missing():
    found = np.zeros((3, 68, 2))
    found[1] = np.nan
    found[2, 4, 0] = np.nan
    assert has_face(found).tolist() == [True, False, False]


def animator(landmarks: LandmarkDetectorConfig | None) -> Animator:
    model = tiny_model(TINY.model_copy(update={"landmark_detector": landmarks}))
    return Animator(model, (32, 48), resize_mode="squash", device="cpu", precision="fp32")


def test_the_landmarks_of_a_network_are_pixels_of_the_frames_that_it_is_given():
    config = LandmarkDetectorConfig(height=32, width=4, depth=2, max_width=8)
    network = animator(config)
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 60, 3), np.uint8)
    found = NetworkLandmarks(network)(frames)
    positions = network.detect(list(frames)).landmarks.numpy()
    assert found.shape == (3, 68, 2)
    np.testing.assert_allclose(found[..., 0], (positions[..., 0] + 1) * 59 / 2, rtol=1e-6)
    np.testing.assert_allclose(found[..., 1], (positions[..., 1] + 1) * 19 / 2, rtol=1e-6)
    assert np.ptp(found, axis=1).max() > 0


def test_a_network_says_whether_it_detects_landmarks():
    config = LandmarkDetectorConfig(height=32, width=4, depth=2, max_width=8)
    assert animator(config).detects_landmarks
    assert not animator(None).detects_landmarks


def write_frames(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        Image.new("RGB", (40, 20)).save(folder / name)
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    """Three frames of 40 x 20 pixels, the third of which is without a face."""
    folder = write_frames(tmp_path / "clips" / "test" / "p#a", ["2.png", "10.png", "11.png"])
    found = np.random.default_rng(0).uniform(0, 20, (3, 68, 2)).astype(np.float16)
    found[2] = np.nan
    (tmp_path / "landmarks" / "test").mkdir(parents=True)
    np.save(tmp_path / "landmarks" / "test" / "p#a.npy", found)
    return folder


def test_given_landmarks_follow_a_frame_that_is_resized(clip, tmp_path):
    found = np.load(tmp_path / "landmarks" / "test" / "p#a.npy").astype(float)
    given = GivenLandmarks(tmp_path / "landmarks", clip)
    squashed = np.zeros((40, 20, 3), np.uint8)
    np.testing.assert_allclose(given(1, squashed), found[1] * [0.5, 2])
    assert np.isnan(given(2, squashed)).all()
    np.testing.assert_array_equal(given(clip / "10.png", squashed), given(1, squashed))
    with pytest.raises(InputError, match=r"p#a\.npy holds landmarks of 3 frames"):
        given(3, squashed)


def test_without_a_file_of_the_clip_there_is_no_face_and_without_a_folder_nothing_is_given(
    clip, tmp_path
):
    other = write_frames(tmp_path / "clips" / "test" / "p#b", ["0.png"])
    picture = np.zeros((20, 40, 3), np.uint8)
    assert np.isnan(GivenLandmarks(tmp_path / "landmarks", other)(0, picture)).all()
    assert GivenLandmarks(None, clip)(0, picture) is None
    assert given_files(tmp_path / "landmarks", [other, clip]) == [
        tmp_path / "landmarks" / "test" / "p#a.npy"
    ]
    assert given_files(None, [clip]) == []


MISSING = np.full((68, 2), np.nan)


def frames(count: int, height: int = 256) -> Frames:
    real = np.zeros((count, height, height + 8, 3), np.uint8)
    return Frames(None, real, np.ones_like(real))


def found(real: list[np.ndarray], generated: list[np.ndarray]):
    """Stand-in for a detector: frames of zeros are real, of ones generated."""
    return lambda asked: np.stack(generated if asked.any() else real)


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 256, (68, 2)).astype(np.float32)


def test_the_distance_is_that_of_the_points_and_as_published_of_the_coordinates(points):
    moved = points.copy()
    moved[:34] += (3, -4)  # half of the points by 5 pixels
    measured = KeypointDistance(found([points, points], [points, moved]))(frames(2))
    assert measured.values["akd"] == pytest.approx([0, 2.5], abs=1e-5)
    assert measured.values["akd_published"] == pytest.approx([0, 7 / 4], abs=1e-5)
    assert measured.values["mkr"].tolist() == [0, 0]
    assert measured.missing == ["", ""]
    assert all(values.dtype == np.float64 for values in measured.values.values())


def test_distances_are_counted_at_a_height_of_256(points):
    metric = KeypointDistance(found([points], [points + np.array([0, 6])]))
    measured = metric(frames(1, height=512))
    assert measured.values["akd"] == pytest.approx([3], abs=1e-5)
    assert measured.values["akd_published"] == pytest.approx([1.5], abs=1e-5)


def test_a_frame_without_a_face_has_no_distance_and_says_why(points):
    metric = KeypointDistance(
        found([points, points, MISSING, MISSING], [points, MISSING, points, MISSING])
    )
    values, missing = metric(frames(4))
    for column in ("akd", "akd_published"):
        assert np.isnan(values[column]).tolist() == [False, True, True, True]
    np.testing.assert_array_equal(values["mkr"], [0, 1, np.nan, np.nan])
    no_real_face = "no face in the real frame"
    assert missing == ["", "no face in the result", no_real_face, no_real_face]
