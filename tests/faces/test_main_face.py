from functools import cache
from itertools import count

import numpy as np
import pytest
from PIL import Image
from skimage import data

from faces.detectors import SMALLEST, Face
from faces.main_face import SMALLEST_IN_VIEW, FacesOfVideo, main_face
from media.pictures import Box
from tests.datasets.conftest import save, solid, write_frames
from utils.errors import InputError

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


def test_what_a_few_pixels_show_is_no_face():
    """The cascade sees a face of two pixels in this picture."""
    assert main_face(np.asarray(Image.fromarray(data.astronaut()).resize((24, 24)))) is None


def test_of_two_faces_the_larger_counts():
    small_first = np.full((400, 620, 3), 90, np.uint8)
    small_first[:220, :220] = astronaut(220)
    small_first[:400, 220:] = astronaut(400)
    assert_astronaut(main_face(small_first), 400 / 512, left=220)


def test_without_a_face_there_is_none(tmp_path):
    assert main_face(BLANK) is None
    assert FacesOfVideo(save(tmp_path / "blank.png", BLANK)).main() is None


class Detector:
    """Finds white rectangles, and in its second search a larger box that holds nothing."""

    def __init__(self, smallest: int = 0) -> None:
        self.searches = count()

    def find(self, frame: np.ndarray) -> list[Face]:
        side = frame.shape[1]
        false = [Face(Box(0.1, 0.1, 0.9, 0.9).scaled(side, side))]
        return white_rectangles(frame) + (false if next(self.searches) == 1 else [])


def white_rectangles(frame: np.ndarray) -> list[Face]:
    rows, columns = (frame[..., 0] > 200).nonzero()
    if not len(rows):
        return []
    return [Face(Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))]


def test_a_box_of_a_single_search_is_no_face(monkeypatch):
    monkeypatch.setattr("faces.main_face.cascade", Detector)
    assert main_face(BLANK) is None
    white = BLANK.copy()
    white[200:300, 220:320] = 255
    assert main_face(white) == pytest.approx((220, 200, 320, 300), abs=2)


@pytest.mark.parametrize("unsure", [SMALLEST, SMALLEST_IN_VIEW])
def test_a_face_is_found_in_half_of_the_searches_from_afar_and_from_near(monkeypatch, unsure):
    class Unsure(Detector):
        """Finds white rectangles in its first search alone."""

        def __init__(self, smallest: int) -> None:
            super().__init__()
            self.only_once = smallest == unsure

        def find(self, frame: np.ndarray) -> list[Face]:
            first = next(self.searches) == 0
            return white_rectangles(frame) if first or not self.only_once else []

    monkeypatch.setattr("faces.main_face.cascade", Unsure)
    white = BLANK.copy()
    white[200:300, 220:320] = 255
    assert main_face(white) is None


@cache
def face_alone() -> Box | None:
    return main_face(np.ascontiguousarray(astronaut()[20:250, 110:340]))


@pytest.mark.parametrize("side", [90, 160, 300])
def test_a_face_is_as_large_in_a_large_picture_as_alone(side):
    """Although the cascade puts wider boxes around faces of few pixels."""
    alone = face_alone()
    picture = np.full((500, 800, 3), 120, np.uint8)
    shrunk = Image.fromarray(astronaut()[20:250, 110:340]).resize((side, side))
    picture[100 : 100 + side, 300 : 300 + side] = np.asarray(shrunk)
    found = main_face(picture)
    assert alone is not None
    assert found is not None
    assert found.width / side == pytest.approx(alone.width / 230, rel=0.07)


def test_a_video_has_its_face_where_most_frames_have_it(tmp_path):
    moved = [np.roll(astronaut(), 3 * i, axis=1) for i in (-1, 0, 1)]
    elsewhere = np.roll(astronaut(), 150, axis=1)
    assert_astronaut(FacesOfVideo(write_frames(tmp_path / "a", [BLANK, *moved, elsewhere])).main())


def test_long_videos_are_sampled(tmp_path, monkeypatch):
    searched_frames = []
    monkeypatch.setattr(
        "faces.main_face.main_face",
        lambda frame, large_only: searched_frames.append(int(frame[0, 0, 0])),
    )
    frames = [solid(i, 8, 8) for i in range(41)]
    assert FacesOfVideo(write_frames(tmp_path / "a", frames)).main() is None
    assert searched_frames == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    searched_frames.clear()
    assert FacesOfVideo(tmp_path / "a", among=range(20, 37)).main() is None
    assert searched_frames == [20, 22, 24, 26, 28, 30, 32, 34, 36]


@pytest.fixture
def searched_frames(monkeypatch) -> list[int]:
    """Numbers, in their last pixels, of the frames in which faces were searched."""
    numbers: list[int] = []

    def white(frame: np.ndarray, large_only: bool) -> Box | None:
        numbers.append(int(frame[-1, -1, 0]))
        faces = white_rectangles(frame[:30])
        return faces[0].box if faces else None

    monkeypatch.setattr("faces.main_face.main_face", white)
    return numbers


def numbered(frames: list[np.ndarray]) -> list[np.ndarray]:
    frames = [frame.copy() for frame in frames]
    for number, frame in enumerate(frames):
        frame[-1, -1] = number
    return frames


def face_of(light: int, left: int = 10, ground: int = 20) -> np.ndarray:
    frame = solid(ground, 32, 48)
    frame[5:25, left : left + 20] = light
    return frame


EMPTY = solid(20, 32, 48)


@pytest.mark.parametrize("searched", [False, True])
@pytest.mark.parametrize("without", [0, 1, 7, 30, 59])
def test_the_first_frame_with_a_face_is_found_by_halving(
    tmp_path, searched_frames, without, searched
):
    frames = numbered([EMPTY] * without + [face_of(250)] * (60 - without))
    faces = FacesOfVideo(write_frames(tmp_path / "a", frames))
    assert not searched or faces.main() == (10, 5, 30, 25)
    assert faces.first() == without
    assert len(searched_frames) == len(set(searched_frames)) <= (9 if searched else 5) + 5
    assert searched or without or searched_frames == [0]


def test_a_face_that_is_faded_in_does_not_count_before_it_is_bright(tmp_path, monkeypatch):
    monkeypatch.setattr("faces.main_face.main_face", lambda frame, large_only: Box(10, 5, 30, 25))
    fade = [(face_of(240) * (n / 20)).astype(np.uint8) for n in range(20)]
    faces = FacesOfVideo(write_frames(tmp_path / "a", fade + [face_of(240)] * 20))
    assert faces.first() == 15  # three quarters as bright as the others
    flicker = [face_of(light) for light in (200, 240, 180, 230, 250, 240)]
    assert FacesOfVideo(write_frames(tmp_path / "b", flicker)).first() == 0


def test_another_face_elsewhere_is_not_the_main_one(tmp_path, searched_frames):
    elsewhere, main = face_of(250, left=28, ground=200), face_of(250, left=0, ground=200)
    frames = numbered([elsewhere] * 3 + [main] * 30)
    faces = FacesOfVideo(write_frames(tmp_path / "a", frames))
    assert faces.main() == (0, 5, 20, 25)
    assert faces.first() == 3


def test_where_nobody_is_seen_the_first_frame_counts(tmp_path, searched_frames):
    faces = FacesOfVideo(write_frames(tmp_path / "a", numbered([EMPTY] * 30)))
    assert faces.first() == 0
    assert searched_frames == [0, 7, 14, 22, 29]


def test_the_first_frame_with_a_face_is_that_of_the_part(tmp_path, searched_frames):
    frames = numbered([EMPTY] * 12 + [face_of(250)] * 20)
    write_frames(tmp_path / "a", frames)
    assert FacesOfVideo(tmp_path / "a", range(5, 32)).first() == 7
    assert FacesOfVideo(tmp_path / "a", range(20, 32)).first() == 0


def test_a_video_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(InputError, match="absent"):
        FacesOfVideo(tmp_path / "absent.mp4").main()
