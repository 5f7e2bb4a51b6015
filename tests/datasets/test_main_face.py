from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from datasets.geometry import Box
from datasets.main_face import main_face, main_face_of_video
from datasets.preparing.faces import CascadeDetector, Face
from modules.errors import InputError

CENTRE = (222, 117)  # of the astronaut's face in her picture of 512 x 512 pixels
BLANK = np.full((512, 512, 3), 90, np.uint8)


def assert_astronaut(box: Box | None, scale: float = 1, left: float = 0, top: float = 0) -> None:
    """The box is that of her face, when her picture lies at this place at this scale."""
    assert box is not None
    x, y = box.shifted(-left, -top).scaled(1 / scale, 1 / scale).centre
    assert abs(x - CENTRE[0]) < 10
    assert abs(y - CENTRE[1]) < 10
    assert 80 < box.width / scale < 115


def astronaut(side: int = 512) -> np.ndarray:
    return np.asarray(Image.fromarray(data.astronaut()).resize((side, side)))


@pytest.mark.parametrize("side", [200, 512, 1600])
def test_the_face_of_a_picture_is_found_at_any_size(side):
    assert_astronaut(main_face(astronaut(side)), side / 512)


def test_of_two_faces_the_larger_counts():
    small_first = np.full((400, 620, 3), 90, np.uint8)
    small_first[:220, :220] = astronaut(220)
    small_first[:400, 220:] = astronaut(400)
    assert_astronaut(main_face(small_first), 400 / 512, left=220)


def test_without_a_face_there_is_none(tmp_path):
    assert main_face(BLANK) is None
    Image.fromarray(BLANK).save(tmp_path / "blank.png")
    assert main_face_of_video(tmp_path / "blank.png") is None


class Detector(CascadeDetector):
    """Finds a face in every look, and in one look only a larger thing that is none."""

    def __init__(self, only_false: bool = False) -> None:
        self.looks, self.only_false = count(), only_false

    def find(self, frame: np.ndarray) -> list[Face]:
        side = frame.shape[1]
        face = Face(Box(0.4, 0.4, 0.6, 0.6).scaled(side, side))
        false = Face(Box(0.1, 0.1, 0.9, 0.9).scaled(side, side))
        return ([] if self.only_false else [face]) + ([false] if next(self.looks) == 1 else [])


def test_what_a_single_look_finds_is_no_face():
    assert main_face(BLANK, Detector()) == pytest.approx((204.8, 204.8, 307.2, 307.2), abs=0.01)
    assert main_face(BLANK, Detector(only_false=True)) is None


def write_frames(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number:07d}.png")
    return folder


def test_a_video_has_its_face_where_most_frames_have_it(tmp_path):
    moved = [np.roll(astronaut(), 3 * i, axis=1) for i in (-1, 0, 1)]
    elsewhere = np.roll(astronaut(), 150, axis=1)
    assert_astronaut(main_face_of_video(write_frames(tmp_path / "a", [BLANK, *moved, elsewhere])))


def test_long_videos_are_sampled(tmp_path, monkeypatch):
    looked_at = []
    monkeypatch.setattr(
        "datasets.main_face.main_face", lambda frame, _: looked_at.append(int(frame[0, 0, 0]))
    )
    frames = [np.full((8, 8, 3), i, np.uint8) for i in range(41)]
    assert main_face_of_video(write_frames(tmp_path / "a", frames)) is None
    assert looked_at == [0, 5, 10, 15, 20, 25, 30, 35, 40]


def test_a_video_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match="absent"):
        main_face_of_video(tmp_path / "absent.mp4")
