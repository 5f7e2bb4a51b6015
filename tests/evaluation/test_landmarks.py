import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest

from evaluation.landmarks import FaceAlignmentLandmarks
from evaluation.metric import Unavailable


def fake_package(network) -> SimpleNamespace:
    """Stands in for face_alignment: ``network`` builds what finds the landmarks."""
    return SimpleNamespace(FaceAlignment=network, LandmarksType=SimpleNamespace(TWO_D=1))


def test_the_first_face_is_taken_and_a_frame_without_one_is_nan(monkeypatch):
    def find(frame):  # two faces in a white frame, none in a black one
        return [np.full((68, 2), 7.0), np.zeros((68, 2))] if frame.any() else None

    def network(*args, **options):
        return SimpleNamespace(get_landmarks_from_image=find)

    monkeypatch.setitem(sys.modules, "face_alignment", fake_package(network))
    frames = [np.full((8, 9, 3), value, np.uint8) for value in (255, 0)]
    found = FaceAlignmentLandmarks("cpu")(frames)
    assert found.shape == (2, 68, 2)
    assert (found[0] == 7).all()
    assert np.isnan(found[1]).all()


def test_weights_that_cannot_be_downloaded_make_it_unavailable(monkeypatch):
    def network(*args, **options):
        raise URLError("name resolution fails")

    monkeypatch.setitem(sys.modules, "face_alignment", fake_package(network))
    with pytest.raises(Unavailable, match="name resolution fails"):
        FaceAlignmentLandmarks("cpu")


def test_a_missing_package_makes_it_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(Unavailable, match="face_alignment"):
        FaceAlignmentLandmarks("cpu")
