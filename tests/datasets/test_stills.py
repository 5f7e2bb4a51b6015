import pytest

from datasets.clips import find_clips
from datasets.config import DataConfig
from datasets.stills import find_stills
from datasets.training_clips import training_stills
from tests.datasets.conftest import save, solid, write_clip
from utils.errors import InputError


def test_a_still_is_a_clip_of_one_frame(tmp_path):
    for number, name in enumerate(["b#1.png", "a#2.jpg", "a#1.png"]):
        save(tmp_path / name, solid(50 * number))
    for junk in ("notes.txt", "._a#1.png", ".DS_Store"):
        (tmp_path / junk).write_text("no picture")
    (tmp_path / "folder.png").mkdir()
    stills = find_stills(tmp_path, excluded=())
    people = [(one.name, one.identity) for one in stills]
    assert people == [("a#1", "a"), ("a#2", "a"), ("b#1", "b")]
    assert all(one.num_frames == 1 for one in stills)
    assert [frame.mean() for frame in stills[0].frames([0, 0])] == [100, 100]


def test_nobody_in_the_test_split_is_trained_on(tmp_path):
    for split, person in (("train", "a"), ("test", "b")):
        write_clip(tmp_path / "root" / split / f"{person}#0.mp4")
    for person in "abc":
        save(tmp_path / "stills" / f"{person}#0.png", solid(0))
    settings = {"root": tmp_path / "stills"}
    data = DataConfig.model_validate({"root": tmp_path / "root", "stills": settings})
    assert [one.identity for one in training_stills(data)] == ["a", "c"]
    (tmp_path / "root" / "test" / "c#0.mp4").write_bytes(b"damaged, and to be repaired one day")
    assert [one.identity for one in training_stills(data)] == ["a"]


def test_nobody_who_falls_to_the_test_split_is_trained_on(tmp_path):
    people = [f"id{number}" for number in range(10)]
    for person in people:
        write_clip(tmp_path / "root" / f"{person}#0.mp4", num_frames=2)
        save(tmp_path / "stills" / f"{person}#0.png", solid(0))
    settings = {"root": tmp_path / "stills"}
    data = DataConfig.model_validate(
        {"root": tmp_path / "root", "test_share": 0.3, "stills": settings}
    )
    tested = {clip.identity for clip in find_clips(data, "test")}
    assert len(tested) == 3
    assert {one.identity for one in training_stills(data)} == set(people) - tested


def test_a_folder_without_stills_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing does not exist"):
        find_stills(tmp_path / "missing", excluded=())
    with pytest.raises(InputError, match="holds no stills"):
        find_stills(tmp_path, excluded=())
    (tmp_path / "a#1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a#1\.png"):
        find_stills(tmp_path, excluded=())
