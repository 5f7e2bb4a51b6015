from datasets.config import DataConfig
from datasets.records import FACE_CROP
from datasets.training_clips import with_face_crop
from faces.crop import FaceCropConfig

FLATTENED = FaceCropConfig(aspect=1.22, face_x=0.5, face_y=0.45, face_width=0.6)
SQUARE = FaceCropConfig(aspect=1.0, face_x=0.5, face_y=0.4, face_width=0.5)


def test_the_face_crop_beside_the_clips_is_taken_over(tmp_path):
    (tmp_path / FACE_CROP).write_text(FLATTENED.model_dump_json())
    stated = with_face_crop(DataConfig(root=tmp_path, repeats=3))
    assert stated == DataConfig(root=tmp_path, repeats=3, face_crop=FLATTENED)


def test_the_configuration_comes_before_the_file(tmp_path):
    (tmp_path / FACE_CROP).write_text(FLATTENED.model_dump_json())
    config = DataConfig(root=tmp_path, face_crop=SQUARE)
    assert with_face_crop(config) == config


def test_clips_of_which_nothing_is_known_have_none(tmp_path):
    assert with_face_crop(DataConfig(root=tmp_path)).face_crop is None
