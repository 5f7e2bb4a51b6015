import numpy as np
import pytest
import torch

from evaluation.metrics.interface import Frames
from evaluation.metrics.motion_correlation import SINGLE, STILL, MotionCorrelation
from modules.geometry import Keypoints


def detect(pictures: list[np.ndarray]) -> Keypoints:
    """A keypoint at the brightest pixel of each half of a picture."""
    found = []
    for picture in pictures:
        halves = np.split(picture.sum(axis=2).astype(float), 2, axis=1)
        places = [np.unravel_index(half.argmax(), half.shape) for half in halves]
        found.append([(x / 16, y / 16) for y, x in places])
    positions = torch.tensor(found)
    return Keypoints(positions, torch.eye(2).expand(len(pictures), 2, 2, 2), positions[:, :0])


def walk(seed: int, num_frames: int = 9) -> np.ndarray:
    """Places (N, 2, 2) of two points."""
    return np.random.default_rng(seed).integers(2, 12, (num_frames, 2, 2))


def drawn(places: np.ndarray) -> np.ndarray:
    frames = np.zeros((len(places), 16, 32, 3), np.uint8)
    for frame, ((x0, y0), (x1, y1)) in zip(frames, places, strict=True):
        frame[y0, x0] = frame[y1, 16 + x1] = 255
    return frames


def correlation(real: np.ndarray, generated: np.ndarray) -> tuple[float, str]:
    metric = MotionCorrelation(detect)
    halves = [Frames(None, real[s], generated[s]) for s in (slice(0, 4), slice(4, None))]
    observations = [metric.observe(half) for half in halves if len(half.real)]
    return metric.measure(np.concatenate(observations))["motion"]


def test_it_is_pearsons_correlation_of_the_displacements_of_all_points():
    real, generated = walk(0), walk(1)
    moves = [(side - side[0]).ravel() for side in (real, generated)]
    x, y = (side - side.mean() for side in moves)
    expected = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
    value, why = correlation(drawn(real), drawn(generated))
    assert value == pytest.approx(expected, rel=1e-6)
    assert abs(value) < 0.9
    assert why == ""


def test_where_the_face_is_does_not_matter_but_how_it_moves():
    real = walk(0)
    assert correlation(drawn(real), drawn(real + np.array([1, 2])))[0] == pytest.approx(1)
    assert correlation(drawn(real), drawn(13 - real))[0] == pytest.approx(-1)


def test_what_does_not_move_has_no_correlation():
    real = drawn(walk(0))
    still = np.broadcast_to(real[:1], real.shape)
    for frames in ((still, real), (real, still)):
        value, why = correlation(*frames)
        assert np.isnan(value)
        assert why == STILL
    value, why = correlation(real[:1], real[:1])
    assert np.isnan(value)
    assert why == SINGLE
