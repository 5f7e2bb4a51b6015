import numpy as np
import pytest

from evaluation.metrics.interface import Frames
from evaluation.metrics.keypoint_distance import KeypointDistance

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
