import logging
import sys
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from skimage import data

from faces.detectors import (
    CascadeDetector,
    DetectorUnavailable,
    Face,
    FaceAlignmentDetector,
    pick_detector,
)
from media.pictures import Box

ASTRONAUT = (222, 117)  # centre of her face in the picture of 512 x 512 pixels


class FakeS3FD:
    """Stands in for the network: a box in each frame that is not black, of its brightness."""

    def __init__(self, device: str, filter_threshold: float) -> None:
        assert device == ("cuda" if torch.cuda.is_available() else "cpu")
        self.threshold = filter_threshold

    def detect_from_batch(self, images: torch.Tensor) -> list[list[np.ndarray]]:
        assert images.shape[1:] == (3, 8, 9)
        values = images[:, 0, 0, 0].tolist()
        return [[np.array([10, 20, 10 + v, 120, 0.9])] if v else [] for v in values]


def without_weights(*args: object, **options: object) -> None:
    raise URLError("name resolution fails")


def largest(faces: list[Face]) -> Box:
    """Box of the largest face: the cascade finds small false ones too."""
    return max((face.box for face in faces), key=lambda box: box.width)


def stand_in(monkeypatch: pytest.MonkeyPatch, network: object) -> None:
    module = SimpleNamespace(FaceDetector=network) if network else None
    monkeypatch.setitem(sys.modules, "face_alignment.detection.sfd", module)


def test_the_cascade_finds_the_astronaut_whatever_her_size():
    for shrink in (1, 2, 3):
        frame = np.ascontiguousarray(data.astronaut()[::shrink, ::shrink])
        (faces,) = CascadeDetector()([frame])
        box = largest(faces).scaled(shrink, shrink)
        x, y = box.centre
        assert abs(x - ASTRONAUT[0]) < 12
        assert abs(y - ASTRONAUT[1]) < 12
        assert 75 < box.width < 115
        assert box.height == box.width


def test_each_frame_has_its_own_faces():
    astronaut = data.astronaut()
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    first, blank, second = CascadeDetector()([astronaut, np.full_like(astronaut, 90), mirrored])
    assert blank == []
    assert abs(largest(first).centre[0] - ASTRONAUT[0]) < 12
    assert abs(largest(second).centre[0] - (512 - ASTRONAUT[0])) < 12


def test_a_face_that_is_hardly_to_be_seen_is_none():
    astronaut = data.astronaut().astype(np.float32)
    faint = (128 + (astronaut - 128) * 0.15).astype(np.uint8)
    assert CascadeDetector()([faint]) == [[]]
    detector = CascadeDetector()
    detector.least_contrast = 0
    assert detector([faint]) != [[]]


def test_faces_smaller_than_asked_for_and_tiny_frames_give_none():
    assert CascadeDetector(smallest=150)([data.astronaut()]) == [[]]
    assert CascadeDetector()([np.zeros((20, 300, 3), np.uint8)]) == [[]]


def test_boxes_of_face_alignment_become_the_squares_of_the_cascade(monkeypatch):
    stand_in(monkeypatch, FakeS3FD)
    detector = pick_detector("auto")
    assert detector.name == "face-alignment"
    frames = [np.full((8, 9, 3), value, np.uint8) for value in (0, 60)]
    none, (face,) = detector(frames)
    assert none == []
    assert face.score == 0.9
    assert face.box.centre == pytest.approx((40, 70))
    assert face.box.width == pytest.approx(face.box.height)
    assert face.box.width == pytest.approx(71, abs=1)  # of a box that is 100 pixels high


@pytest.mark.parametrize("network", [None, without_weights])
def test_auto_falls_back_to_the_cascade_and_says_so(monkeypatch, caplog, network):
    stand_in(monkeypatch, network)
    caplog.set_level(logging.INFO)
    assert pick_detector("auto").name == "cascade"
    (message,) = caplog.messages
    assert "cascade" in message
    assert "face-alignment" in message or "face_alignment" in message


def test_a_detector_that_was_asked_for_is_not_replaced(monkeypatch):
    stand_in(monkeypatch, None)
    with pytest.raises(DetectorUnavailable, match="pip install face-alignment"):
        pick_detector("face-alignment")
    stand_in(monkeypatch, without_weights)
    with pytest.raises(DetectorUnavailable, match=r"no weights.*name resolution fails"):
        pick_detector("face-alignment")


def test_the_package_itself_takes_a_batch(tmp_path, monkeypatch):
    """Its own code with weights that find nothing: random ones would find hundreds of boxes."""
    sfd_detector = pytest.importorskip("face_alignment.detection.sfd.sfd_detector")
    weights = {name: torch.zeros_like(w) for name, w in sfd_detector.s3fd().state_dict().items()}
    for name, bias in weights.items():
        if "conf.bias" in name:
            bias[0] = 9  # no face, surely
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(weights, folder / sfd_detector.models_urls["s3fd"].rsplit("/", 1)[1])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    frames = np.zeros((2, 64, 80, 3), np.uint8)
    assert FaceAlignmentDetector()(list(frames)) == [[], []]
