import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch

from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks


def fake_package(network) -> SimpleNamespace:
    """Stands in for face_alignment: ``network`` builds what finds the landmarks."""
    return SimpleNamespace(
        FaceAlignment=network, LandmarksType=SimpleNamespace(TWO_D=1), __version__="1.5.0"
    )


class FakeNetwork:
    """Boxes start at the brightness of the frame; landmarks lie where their box starts."""

    def __init__(self, *args, **options) -> None:
        self.face_detector = SimpleNamespace(detect_from_batch=self.detect)

    def detect(self, images: torch.Tensor) -> list[list[np.ndarray]]:
        assert images.shape[1:] == (3, 8, 9)  # two faces in each frame that is not black
        values = images[:, 0, 0, 0].tolist()
        return [[np.full(5, v), np.zeros(5)] if v else [] for v in values]

    def get_landmarks_from_image(self, frame, detected_faces):
        assert frame.shape == (8, 9, 3)
        return [np.full((68, 2), box[0]) for box in detected_faces]


def test_the_first_face_is_taken_and_a_frame_without_one_is_nan(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", fake_package(FakeNetwork))
    frames = [np.full((8, 9, 3), value, np.uint8) for value in (255, 0, 7)]
    landmarks = FaceAlignmentLandmarks("cpu")
    found = landmarks(frames)
    assert found.shape == (3, 68, 2)
    assert (found[0] == 255).all()
    assert np.isnan(found[1]).all()
    assert (found[2] == 7).all()
    assert landmarks.name == "face-alignment 1.5.0"


def test_weights_that_cannot_be_downloaded_make_it_unavailable(monkeypatch):
    def network(*args, **options):
        raise URLError("name resolution fails")

    monkeypatch.setitem(sys.modules, "face_alignment", fake_package(network))
    with pytest.raises(DetectorUnavailable, match=r"has no weights.*name resolution fails"):
        FaceAlignmentLandmarks("cpu")


def test_a_missing_package_makes_it_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(DetectorUnavailable, match="pip install face-alignment"):
        FaceAlignmentLandmarks("cpu")


def test_the_package_itself_aligns_the_boxes_of_a_batch(tmp_path, monkeypatch):
    """Its own code with random weights, but for the boxes, which random weights scatter."""
    from face_alignment.api import FAN, models_urls
    from face_alignment.detection.sfd import sfd_detector

    torch.manual_seed(0)
    urls = {models_urls["2DFAN-4"]: FAN(4), sfd_detector.models_urls["s3fd"]: sfd_detector.s3fd()}
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for url, network in urls.items():
        torch.save(network.state_dict(), folder / url.rsplit("/", 1)[1])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    landmarks = FaceAlignmentLandmarks("cpu")

    def boxes(images: torch.Tensor) -> list[list[np.ndarray]]:
        return [[np.array([40.0, 30, 160, 170, 0.9])], []]

    monkeypatch.setattr(landmarks.network.face_detector, "detect_from_batch", boxes)
    frames = np.random.default_rng(0).integers(0, 256, (2, 200, 190, 3), dtype=np.uint8)
    found = landmarks(frames)
    assert np.isnan(found).all(axis=(1, 2)).tolist() == [False, True]
    assert found[0].std() > 1  # somewhere about the box
    assert ((found[0] > -60) & (found[0] < 260)).all()
