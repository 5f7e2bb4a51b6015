from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from animation.best_frame import NetworkLandmarks
from evaluation.command_line import MeasureOptions
from evaluation.metrics.available import AvailableMetrics, available_metrics
from evaluation.metrics.inputs import MetricInputs
from evaluation.metrics.interface import Unavailable
from evaluation.metrics.pixels import PICTURE_METRICS
from evaluation.metrics.registry import COLUMNS
from faces.detectors import DetectorUnavailable
from utils.errors import InputError


def made(wanted: list[str], landmarks: Path | None = None, **inputs: object) -> AvailableMetrics:
    options = MeasureOptions(landmarks=landmarks)
    return available_metrics(wanted, MetricInputs(torch.device("cpu"), options, **inputs))


def unavailable(*args: object, **kwargs: object) -> None:
    raise Unavailable("nothing can be downloaded.")


def without_detector(device: str) -> None:
    raise DetectorUnavailable("nothing can be downloaded.")


@pytest.fixture
def offline(monkeypatch):
    for network in ("lpips.Lpips", "fid.InceptionFeatures", "pose_expression.PyFeatDetector"):
        monkeypatch.setattr(f"evaluation.metrics.{network}", unavailable)
    monkeypatch.setattr("evaluation.metrics.inputs.FaceAlignmentLandmarks", without_detector)


def test_what_is_not_available_is_named_and_the_rest_is_there(offline):
    metrics = made(list(COLUMNS))
    assert metrics.columns == metrics.copied_columns == [*PICTURE_METRICS, "sharpness"]
    assert metrics.features is None
    assert set(metrics.unavailable) == set(COLUMNS) - set(metrics.columns)
    assert "--checkpoint" in metrics.unavailable["motion"]
    assert "--openface" in metrics.unavailable["aed"]
    assert "--arcface" in metrics.unavailable["csim"]
    assert metrics.unavailable["fid"] == "nothing can be downloaded."


OWN = SimpleNamespace(detects_landmarks=True, detect=None)


@pytest.fixture
def weights(tmp_path) -> Path:
    """The file of a network's weights."""
    file = tmp_path / "network.safetensors"
    file.write_bytes(b"weights")
    return file


def expressions_of(
    animator: SimpleNamespace | None, weights: Path, folder: Path | None
) -> AvailableMetrics:
    if animator is not None:
        animator.checkpoint = weights
    wanted = ["l1", "brows_corr", "mouth_gain"]
    return made(wanted, landmarks=folder, cross_identity=True, network=animator)


@pytest.mark.parametrize("animator", [None, SimpleNamespace(detects_landmarks=False)])
def test_expressions_need_something_that_finds_landmarks(offline, weights, animator):
    metrics = expressions_of(animator, weights, folder=None)
    assert metrics.columns == []
    reason = metrics.unavailable["mouth_gain"]
    assert reason == metrics.unavailable["brows_corr"]
    assert reason == (
        "nothing can be downloaded; a --checkpoint whose network has a landmark detector would "
        "serve too."
    )


def test_expressions_are_found_by_the_network_itself_where_nothing_else_can(offline, weights):
    metrics = expressions_of(OWN, weights, folder=weights.parent)
    (metric,) = metrics.clip_metrics
    assert isinstance(metric.landmarks, NetworkLandmarks)
    assert metrics.columns == ["mouth_gain", "brows_corr"]
    by = metrics.networks["mouth_gain"]
    assert by.startswith("the network's own landmark detector, network.safetensors, sha256 ")
    assert by.endswith(f"; of the real frames: files in {weights.parent}")


def test_a_detector_that_does_not_know_the_network_goes_before_its_own(monkeypatch, weights):
    detector = SimpleNamespace(name="face-alignment 1.5")
    monkeypatch.setattr("evaluation.metrics.inputs.FaceAlignmentLandmarks", lambda device: detector)
    metrics = expressions_of(OWN, weights, folder=None)
    (metric,) = metrics.clip_metrics
    assert metric.landmarks.landmarks is detector
    assert metrics.networks["mouth_gain"] == "face-alignment 1.5"


def test_a_folder_of_landmarks_must_be_there(weights):
    with pytest.raises(InputError, match=r"landmarks .*nowhere does not exist"):
        expressions_of(None, weights, folder=weights.parent / "nowhere")


def test_across_identities_nothing_is_compared_with_the_driving_frame(offline):
    metrics = made(["l1", "csim", "mkr"], has_source=False, cross_identity=True)
    assert metrics.frame_metrics == []
    assert "another person" in metrics.unavailable["l1"]
    assert "--source" in metrics.unavailable["csim"]
    assert metrics.unavailable["mkr"] == "nothing can be downloaded."


@pytest.mark.parametrize(("has_source", "cross_identity"), [(True, True), (False, False)])
def test_copying_the_source_needs_a_source_of_the_same_person(offline, has_source, cross_identity):
    metrics = made(["l1"], has_source=has_source, cross_identity=cross_identity)
    assert metrics.copied_columns == []


def test_what_computes_a_number_is_named(monkeypatch, tmp_path):
    class Lpips:
        def __init__(self, network: str, columns: list[str], device: torch.device) -> None:
            self.weights = tmp_path / f"{network}.pth"
            self.weights.write_bytes(b"weights")

    class FaceAlignment:
        def __init__(self, device: str) -> None:
            self.name = "face-alignment 1.5"

    monkeypatch.setattr("evaluation.metrics.lpips.Lpips", Lpips)
    monkeypatch.setattr("evaluation.metrics.inputs.FaceAlignmentLandmarks", FaceAlignment)
    wanted = ["l1", "lpips_alex", "akd"]
    metrics = made(wanted)
    assert metrics.columns == wanted
    assert metrics.networks["akd"] == "face-alignment 1.5"
    assert metrics.networks["lpips_alex"].startswith("alex.pth, sha256 ")
    assert len(metrics.networks["lpips_alex"].split()[-1]) == 64
    assert "l1" not in metrics.networks
