"""Expression transfer of drawn faces whose expressions are known."""

import numpy as np
import pytest
import torch

from evaluation.metrics.clip_metrics import (
    COLUMNS,
    FEW_FRAMES,
    MIN_FRAMES,
    MOVES,
    NO_DRIVING_FACE,
    NOTHING_MOVES,
    SINGLE_FRAME,
    UNMOVED,
    ExpressionTransfer,
    MotionCorrelation,
    compare_expressions,
)
from evaluation.metrics.interface import Frames
from evaluation.metrics.registry import COLUMNS as ALL_COLUMNS
from modules.face_landmarks import Expressions
from modules.geometry import Keypoints
from tests.evaluation.faces import faces, moved, talking

GAINS = [column for column in COLUMNS if column.endswith("_gain")]
CORRELATIONS = [column for column in COLUMNS if column.endswith("_corr")]


class Drawn:
    """Detector of landmarks in pictures whose first pixel says which face they show."""

    def __init__(self, landmarks: np.ndarray) -> None:
        self.landmarks = landmarks
        self.asked = 0

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.asked += len(frames)
        return self.landmarks[frames[:, 0, 0, 0]]


def numbered(numbers: range) -> np.ndarray:
    pictures = np.zeros((len(numbers), 4, 4, 3), np.uint8)
    pictures[:, 0, 0, 0] = numbers
    return pictures


def measured(driving: np.ndarray, result: np.ndarray) -> dict[str, tuple[float, str]]:
    """Pass landmarks (N, 68, 2) of both sides through the metric, in two batches."""
    metric = ExpressionTransfer(Drawn(np.concatenate([driving, result])))
    count = len(driving)
    observations = [
        metric.observe(Frames(None, numbered(range(a, b)), numbered(range(count + a, count + b))))
        for a, b in ((0, 3), (3, count))
    ]
    return metric.measure(np.concatenate(observations))


def values(found: dict[str, tuple[float, str]], columns: list[str]) -> list[float]:
    return [found[column][0] for column in columns]


def test_a_result_that_moves_half_as_far_has_gain_half_and_correlation_one():
    """Neutral face, turn, size and place of either head make no difference."""
    driving = talking(20)
    result = driving / 2 + [0.2, 0.1, 0.05, 0.4]
    found = measured(moved(faces(driving), 1), moved(faces(result), 2))
    assert values(found, GAINS) == pytest.approx([0.5] * 4)
    assert values(found, CORRELATIONS) == pytest.approx([1.0] * 4)
    assert {reason for _, reason in found.values()} == {""}
    assert tuple(found) == COLUMNS


def test_relative_to_the_first_frame_they_are_the_same():
    driving, result = talking(20), talking(20, seed=1)
    plain = compare_expressions(driving, result)
    relative = compare_expressions(driving - driving[0], result - result[0])
    assert values(relative, list(COLUMNS)) == pytest.approx(values(plain, list(COLUMNS)))


def test_gain_is_the_slope_and_corr_is_pearsons():
    driving, result = talking(30), talking(30, seed=1) + talking(30) / 3
    found = compare_expressions(driving, result)
    for i, name in enumerate(Expressions._fields):
        slope = np.polyfit(driving[:, i], result[:, i], 1)[0]
        assert found[f"{name}_gain"][0] == pytest.approx(slope)
        correlation = np.corrcoef(driving[:, i], result[:, i])[0, 1]
        assert found[f"{name}_corr"][0] == pytest.approx(correlation)


def test_an_expression_that_the_driving_face_does_not_make_does_not_count():
    driving = talking(20)
    still = Expressions._fields.index("eyes")
    driving[:, still] = 0.12 + 0.0099 * np.where(np.arange(20) % 2, 1, -1)
    found = measured(faces(driving), faces(talking(20, seed=1)))
    assert {column for column in COLUMNS if np.isnan(found[column][0])} == {
        "eyes_gain",
        "eyes_corr",
    }
    assert found["eyes_gain"][1] == found["eyes_corr"][1] == UNMOVED
    driving[:, still] = 0.12 + 0.0101 * np.where(np.arange(20) % 2, 1, -1)
    assert found["mouth_gain"] == measured(faces(driving), faces(talking(20, seed=1)))["mouth_gain"]
    assert measured(faces(driving), faces(driving))["eyes_gain"][0] == pytest.approx(1)


def test_a_result_that_does_not_move_follows_by_nothing():
    result = np.broadcast_to(talking(1), (20, 4))
    found = compare_expressions(talking(20), result)
    assert values(found, list(COLUMNS)) == pytest.approx([0.0] * 8, abs=1e-9)


def test_frames_without_a_face_in_either_are_left_out():
    driving, result = talking(20), talking(20, seed=1)
    driving_faces, made = faces(driving), faces(result)
    driving_faces[3] = made[[4, 7]] = np.nan
    kept = [i for i in range(20) if i not in (3, 4, 7)]
    expected = compare_expressions(driving[kept], result[kept])
    assert values(measured(driving_faces, made), list(COLUMNS)) == pytest.approx(
        values(expected, list(COLUMNS))
    )


def test_few_frames_say_nothing():
    driving, nobody = faces(talking(MIN_FRAMES)), np.full((MIN_FRAMES, 68, 2), np.nan)
    assert not np.isnan(values(measured(driving, driving), list(COLUMNS))).any()
    fewer = driving.copy()
    fewer[0] = np.nan
    for driving_faces, made, why in (
        (fewer, driving, FEW_FRAMES),
        (driving, fewer, FEW_FRAMES),
        (driving, nobody, FEW_FRAMES),
        (nobody, driving, NO_DRIVING_FACE),
    ):
        found = measured(driving_faces, made)
        assert np.isnan(values(found, list(COLUMNS))).all()
        assert {reason for _, reason in found.values()} == {why}


def test_a_face_on_one_spot_is_none():
    """Degenerate faces, which an untrained detector may find, give no number."""
    spot = np.full((12, 68, 2), 5.0)
    assert {reason for _, reason in measured(spot, faces(talking(12))).values()} == {
        NO_DRIVING_FACE
    }


def test_landmarks_that_come_with_the_real_frames_are_not_looked_for():
    driving, result = talking(12), talking(12, seed=1)
    detector = Drawn(faces(result))
    pictures = numbered(range(12))
    metric = ExpressionTransfer(detector)
    found = metric.measure(metric.observe(Frames(None, pictures, pictures, faces(driving))))
    assert detector.asked == 12
    expected = compare_expressions(driving, result)
    assert values(found, list(COLUMNS)) == pytest.approx(values(expected, list(COLUMNS)))


def test_every_expression_has_its_columns_and_its_threshold():
    assert tuple(MOVES) == Expressions._fields
    assert set(COLUMNS) == {
        column for column in ALL_COLUMNS if column.partition("_")[0] in Expressions._fields
    }


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
        assert why == NOTHING_MOVES
    value, why = correlation(real[:1], real[:1])
    assert np.isnan(value)
    assert why == SINGLE_FRAME
