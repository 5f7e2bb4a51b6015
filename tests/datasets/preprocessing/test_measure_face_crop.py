from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from datasets.preprocessing.measure_face_crop import find_face, measure_face_crop, write_face_crop
from datasets.records import read_face_crop, record_path
from media.pictures import Box
from tests.datasets.conftest import write_record, write_video

FACE = Box(175, 70, 268, 163)  # the astronaut's, as the cascade finds it
CROP = Box(130, 20, 310, 240)  # 180 x 220


def write_clip(path: Path, crop: Box = CROP) -> Path:
    """A clip of the astronaut, cropped and flattened to a square."""
    image = Image.fromarray(astronaut()).resize((256, 256), Image.Resampling.BICUBIC, box=crop)
    write_video(path, [np.asarray(image)] * 3)
    write_record(path, box=crop, aspect=crop.height / crop.width, size=(256, 256))
    return path


def test_a_face_is_found_where_it_is_in_the_uncut_picture(tmp_path):
    frame = np.asarray(Image.fromarray(astronaut()).resize((256, 256), box=CROP))
    face = find_face(frame, CROP.height / CROP.width)
    in_picture = face.scaled(CROP.width, CROP.height)
    found = [in_picture.left + CROP.left, in_picture.top + CROP.top, in_picture.width]
    np.testing.assert_allclose(found, [FACE.left, FACE.top, FACE.width], atol=12)
    assert in_picture.width == pytest.approx(in_picture.height, rel=0.02)  # a square, as in FACE


def test_no_face_is_found_where_there_is_none():
    assert find_face(np.full((256, 256, 3), 90, np.uint8), 1.2) is None


@pytest.mark.parametrize("aspect", [1e-4, 300])
def test_cuts_that_are_all_but_lines_are_passed_over(aspect):
    assert find_face(np.full((32, 32, 3), 90, np.uint8), aspect) is None


def test_the_face_crop_brings_back_the_crop(tmp_path):
    face_crop = measure_face_crop([write_clip(tmp_path / "train" / "id1#a#0#3.mp4")])
    assert face_crop.aspect == pytest.approx(220 / 180, abs=1e-3)
    np.testing.assert_allclose(face_crop.crop_around(FACE), CROP, atol=20)


def test_the_face_crop_is_the_median_of_the_training_clips(tmp_path):
    for number, left in enumerate((120, 130, 131)):
        crop = Box(left, 20, left + 180, 240)
        write_clip(tmp_path / "train" / f"id{number}#a#0#3.mp4", crop)
    write_clip(tmp_path / "test" / "id9#a#0#3.mp4", Box(80, 10, 380, 310))
    (tmp_path / "train" / "id8#a#0#3.mp4").write_text("damaged")
    record_path(tmp_path / "train" / "id8#a#0#3.mp4").write_text("{}")
    face_crop = write_face_crop(tmp_path)
    assert face_crop == read_face_crop(tmp_path)
    alone = measure_face_crop([tmp_path / "train" / "id1#a#0#3.mp4"])
    assert face_crop.aspect == alone.aspect
    assert face_crop.face_x == pytest.approx(alone.face_x, abs=0.03)


def test_a_root_without_faces_has_no_face_crop(tmp_path, caplog):
    assert write_face_crop(tmp_path) is None
    path = write_clip(tmp_path / "train" / "id1#a#0#3.mp4", crop=Box(0, 400, 60, 460))
    assert write_face_crop(tmp_path) is None
    assert "No faces were found" in caplog.text
    assert path.exists()
    assert read_face_crop(tmp_path) is None
