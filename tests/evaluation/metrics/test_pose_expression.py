import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from evaluation.metrics.interface import Frames, Unavailable
from evaluation.metrics.pose_expression import (
    PoseAndActionUnits,
    PoseExpressionDistance,
    PyFeatDetector,
)

POSE = ["Pitch", "Roll", "Yaw"]
UNITS = ["AU01", "AU02", "AU12", "AU43"]


class Detector:
    """Detector of prepared expressions: the first in frames of zeros, the second in the others."""

    name = "prepared"
    version = "1"

    def __init__(self, real: PoseAndActionUnits, generated: PoseAndActionUnits) -> None:
        self.real, self.generated = real, generated

    def __call__(self, frames: np.ndarray) -> PoseAndActionUnits:
        return self.generated if frames.any() else self.real


def frames(count: int) -> Frames:
    real = np.zeros((count, 8, 9, 3), np.uint8)
    return Frames(None, real, np.ones_like(real))


def test_pose_and_action_units_differ_as_their_definitions_say():
    real = PoseAndActionUnits(
        np.array([[10, 0, -20], [0, 179, 0]]), np.array([[1, 0, 0, 1], [1, 1, 1, 0]])
    )
    generated = PoseAndActionUnits(
        np.array([[13, -4, -8], [0, -178, 0]]), np.array([[1, 1, 0, 0], [1, 1, 1, 0]])
    )
    values, missing = PoseExpressionDistance(Detector(real, generated))(frames(2))
    assert values["pose_rmse"] == pytest.approx([13 / math.sqrt(3), 3 / math.sqrt(3)])
    assert values["au_hamming"].tolist() == [0.5, 0]
    assert missing == ["", ""]


def test_frames_without_a_face_have_no_values_and_say_why():
    face, none = ([1.0, 2, 3], [0.0, 1]), ([np.nan] * 3, [np.nan] * 2)
    real = PoseAndActionUnits(*map(np.array, zip(face, face, none, none, strict=True)))
    generated = PoseAndActionUnits(*map(np.array, zip(face, none, face, none, strict=True)))
    values, missing = PoseExpressionDistance(Detector(real, generated))(frames(4))
    for column in ("pose_rmse", "au_hamming"):
        np.testing.assert_array_equal(values[column], [0, np.nan, np.nan, np.nan])
    no_real_face = "no face in the real frame"
    assert missing == ["", "no face in the result", no_real_face, no_real_face]


class Table:
    """Stand-in for py-feat's table of faces: columns, by a name or by several."""

    def __init__(self, columns: dict[str, list[float]]) -> None:
        self.columns = columns
        self.au_columns = UNITS

    def __getitem__(self, names: str | list[str]) -> SimpleNamespace:
        picked = self.columns[names] if isinstance(names, str) else [self.columns[n] for n in names]
        return SimpleNamespace(to_numpy=lambda dtype=None: np.array(picked, dtype).T)


class FakeDetector(torch.nn.Module):
    """Stand-in for feat.Detectorv1: two faces in white frames, the second surer; none in black."""

    def __init__(
        self,
        *,
        face_model="retinaface",
        landmark_model="mobilefacenet",
        au_model="xgb",
        emotion_model="resmasknet",
        identity_model="arcface",
        gaze_model="l2cs",
        device="cpu",
    ) -> None:
        super().__init__()
        assert (face_model, au_model, device) == ("img2pose", "xgb", "cpu")

    def detect(self, inputs, data_type="image", batch_size=1, progress_bar=True) -> Table:
        assert (data_type, batch_size, progress_bar) == ("tensor", len(inputs), False)
        assert inputs.dtype == torch.uint8
        assert inputs.shape[1:] == (3, 8, 9)
        print("100%", file=sys.stderr)
        nan = math.nan
        names = ["frame", "FaceScore", *POSE, *UNITS]
        rows = []
        for i, image in enumerate(inputs):
            if image.any():
                rows += [[i, 0.7, 9, 9, 9, 0, 0, 0, 0], [i, 0.9, 0.5, -1, 0, 0.2, 0.5, 0.6, 1]]
            else:
                rows += [[i, 0, nan, nan, nan, nan, nan, nan, nan]]
        return Table(dict(zip(names, zip(*rows, strict=True), strict=True)))


def fake_package(monkeypatch, version="2.1.5", **names) -> None:
    monkeypatch.setitem(sys.modules, "feat", SimpleNamespace(__version__=version, **names))


def test_py_feat_gives_degrees_and_presence_of_the_surest_face(monkeypatch, capsys):
    fake_package(monkeypatch, Detectorv1=FakeDetector)
    detector = PyFeatDetector("cpu")
    assert (detector.name, detector.version) == ("py-feat", "2.1.5")
    black = np.zeros((8, 9, 3), np.uint8)
    found = detector(np.stack([black + 255, black, black + 255]))
    pose = [math.degrees(0.5), -math.degrees(1), 0]
    np.testing.assert_allclose(found.pose, [pose, [np.nan] * 3, pose])
    present = [0, 0, 1, 1]
    np.testing.assert_array_equal(found.action_units, [present, [np.nan] * 4, present])
    assert capsys.readouterr().err == ""


def test_without_the_package_its_weights_or_this_version_it_is_unavailable(monkeypatch):
    def offline(**options):
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub")

    fake_package(monkeypatch, Detectorv1=offline)
    with pytest.raises(Unavailable, match="locate the file on the Hub"):
        PyFeatDetector("cpu")
    fake_package(monkeypatch, "0.6.2", Detector=FakeDetector)
    with pytest.raises(Unavailable, match=r"Detectorv1.*install py-feat>=2\.1\.5, not 0\.6\.2"):
        PyFeatDetector("cpu")
    monkeypatch.setitem(sys.modules, "feat", None)
    with pytest.raises(Unavailable, match="pip install py-feat"):
        PyFeatDetector("cpu")
