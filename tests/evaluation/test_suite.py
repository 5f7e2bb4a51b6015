import pytest
import torch

from evaluation.columns import COLUMNS
from evaluation.metric import Unavailable
from evaluation.metrics import PICTURE_METRICS
from evaluation.suite import WeightFiles, build_suite, parse_metrics
from modules.errors import InputError

CPU = torch.device("cpu")


def unavailable(*args: object, **kwargs: object) -> None:
    raise Unavailable("nothing can be downloaded.")


@pytest.fixture
def offline(monkeypatch):
    for network in ("FaceAlignmentLandmarks", "Lpips", "InceptionFeatures", "PyFeatDetector"):
        monkeypatch.setattr(f"evaluation.suite.{network}", unavailable)


def test_metrics_come_in_the_order_of_the_columns():
    assert parse_metrics("all") == parse_metrics("l1, all") == list(COLUMNS)
    assert parse_metrics("fid, l1,akd") == ["l1", "akd", "fid"]
    with pytest.raises(InputError, match=r"No metric is called 'psnrr'.*psnr_reference"):
        parse_metrics("psnrr")


def test_what_cannot_be_had_is_named_and_the_rest_is_there(offline):
    suite = build_suite(list(COLUMNS), CPU, WeightFiles(), has_source=True, cross_identity=False)
    assert suite.columns == suite.copied_columns == [*PICTURE_METRICS, "sharpness"]
    assert suite.features is None
    assert set(suite.unavailable) == set(COLUMNS) - set(suite.columns)
    assert "--checkpoint" in suite.unavailable["motion"]
    assert "--openface" in suite.unavailable["aed"]
    assert "--arcface" in suite.unavailable["csim"]
    assert suite.unavailable["fid"] == "nothing can be downloaded."


def test_across_identities_nothing_is_held_against_the_driving_frame(offline):
    suite = build_suite(
        ["l1", "csim", "mkr"], CPU, WeightFiles(), has_source=False, cross_identity=True
    )
    assert suite.metrics == []
    assert "another person" in suite.unavailable["l1"]
    assert "--source" in suite.unavailable["csim"]
    assert suite.unavailable["mkr"] == "nothing can be downloaded."


@pytest.mark.parametrize(("has_source", "cross_identity"), [(True, True), (False, False)])
def test_copying_the_source_needs_a_source_of_the_same_person(offline, has_source, cross_identity):
    suite = build_suite(
        ["l1"], CPU, WeightFiles(), has_source=has_source, cross_identity=cross_identity
    )
    assert suite.copied_columns == []


def test_what_computes_a_number_is_named(monkeypatch, tmp_path):
    class Lpips:
        def __init__(self, network: str, columns: list[str], device: torch.device) -> None:
            self.weights = tmp_path / f"{network}.pth"
            self.weights.write_bytes(b"weights")

    class FaceAlignment:
        def __init__(self, device: str) -> None:
            self.name = "face-alignment 1.5"

    monkeypatch.setattr("evaluation.suite.Lpips", Lpips)
    monkeypatch.setattr("evaluation.suite.FaceAlignmentLandmarks", FaceAlignment)
    wanted = ["l1", "lpips_alex", "akd"]
    suite = build_suite(wanted, CPU, WeightFiles(), has_source=True, cross_identity=False)
    assert suite.columns == wanted
    assert suite.networks["akd"] == "face-alignment 1.5"
    assert suite.networks["lpips_alex"].startswith("alex.pth, sha256 ")
    assert len(suite.networks["lpips_alex"].split()[-1]) == 64
    assert "l1" not in suite.networks
