import pytest

from datasets.config import DataConfig
from datasets.records import GEOMETRY
from datasets.training_clips import stated_geometry
from faces.crop import Geometry
from utils.errors import InputError

FLATTENED = Geometry(aspect=1.22, face_x=0.5, face_y=0.45, face_width=0.6)
SQUARE = Geometry(aspect=1.0, face_x=0.5, face_y=0.4, face_width=0.5)


def test_the_geometry_beside_the_clips_is_taken_over(tmp_path):
    (tmp_path / GEOMETRY).write_text(FLATTENED.model_dump_json())
    stated = stated_geometry(DataConfig(root=tmp_path, repeats=3))
    assert stated == DataConfig(root=tmp_path, repeats=3, geometry=FLATTENED)


def test_the_configuration_comes_before_the_file(tmp_path):
    (tmp_path / GEOMETRY).write_text(FLATTENED.model_dump_json())
    config = DataConfig(root=tmp_path, geometry=SQUARE)
    assert stated_geometry(config) == config


def test_clips_of_which_nothing_is_known_have_none(tmp_path):
    assert stated_geometry(DataConfig(root=tmp_path)).geometry is None


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / GEOMETRY).write_text('{"aspect": 1.2')
    with pytest.raises(InputError, match=r"geometry\.json is not a geometry"):
        stated_geometry(DataConfig(root=tmp_path))
