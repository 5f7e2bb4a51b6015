import pytest

from datasets.records import (
    FACE_CROP,
    SETTINGS,
    ClipRecord,
    read_face_crop,
    read_record,
    record_path,
    recorded_clips,
    require_settings,
)
from faces.crop import FaceCropConfig
from media.pictures import Box
from utils.errors import InputError

RECORD = ClipRecord(
    video="a.mp4",
    frames=(3, 40),
    video_size=(640, 480),
    video_rate="30000/1001",
    boxes="published",
    box=Box(1, 2.5, 101, 124.5),
    aspect=1.22,
    size=(256, 256),
)


def test_a_record_comes_back_as_it_was_written(tmp_path):
    clip = tmp_path / "id1#a#000003#000040.mp4"
    assert record_path(clip).name == "id1#a#000003#000040.json"
    assert read_record(clip) is None
    record_path(clip).write_text(RECORD.model_dump_json())
    assert read_record(clip) == RECORD
    record_path(clip).write_text('{"video": 3}')
    with pytest.raises(InputError, match="is not the record of a clip"):
        read_record(clip)


def test_recorded_clips_are_those_beside_a_record(tmp_path):
    for name in ("b.mp4", "b.json", "a.json", "c.mp4", "orphan.json"):
        (tmp_path / name).touch()
    (tmp_path / "a").mkdir()
    assert [path.name for path in recorded_clips(tmp_path)] == ["a", "b.mp4"]


def test_a_root_goes_on_with_its_own_settings_only(tmp_path):
    require_settings(tmp_path, "voxceleb", {"size": 256})
    require_settings(tmp_path, "voxceleb", {"size": 256})
    for command, size, difference in (
        ("videos", 256, ": by the command voxceleb"),
        ("voxceleb", 128, "of size"),
    ):
        with pytest.raises(InputError, match=f"begun with other settings ?{difference}"):
            require_settings(tmp_path, command, {"size": size})
    (tmp_path / SETTINGS).write_text("{}")
    with pytest.raises(InputError, match="settings that cannot be read"):
        require_settings(tmp_path, "voxceleb", {"size": 256})


def test_nothing_is_prepared_among_other_things(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="something else than a data set"):
        require_settings(tmp_path, "voxceleb", {})


def test_the_face_crop_of_a_root_is_read_where_it_is_known(tmp_path):
    assert read_face_crop(tmp_path) is None
    face_crop = FaceCropConfig(aspect=1.2, face_x=0.5, face_y=0.55, face_width=0.6)
    (tmp_path / FACE_CROP).write_text(face_crop.model_dump_json())
    assert read_face_crop(tmp_path) == face_crop
    (tmp_path / FACE_CROP).write_text('{"aspect": -1}')
    with pytest.raises(InputError, match="is not a face crop"):
        read_face_crop(tmp_path)


def test_files_of_earlier_versions_are_translated_or_named(tmp_path):
    """Earlier versions called the boxes and the file of the face crop "geometry"."""
    clip = tmp_path / "id1#a#000003#000040.mp4"
    record_path(clip).write_text(RECORD.model_dump_json().replace('"boxes"', '"geometry"'))
    assert read_record(clip) == RECORD
    (tmp_path / SETTINGS).write_text(
        '{"command": "voxceleb", "settings": {"geometry": "square", "size": 256}}'
    )
    require_settings(tmp_path, "voxceleb", {"boxes": "square", "size": 256})
    with pytest.raises(InputError, match="other settings of boxes"):
        require_settings(tmp_path, "voxceleb", {"boxes": "published", "size": 256})
    (tmp_path / "geometry.json").write_text("{}")
    with pytest.raises(InputError, match=r"geometry\.json .* rename it to face_crop\.json"):
        read_face_crop(tmp_path)
