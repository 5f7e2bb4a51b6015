from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.folders import pair_folders
from evaluation.work_units import Dropped, UnitFrame
from media.video import VideoWriter
from utils.errors import InputError


def picture(value: int, size: tuple[int, int] = (8, 8)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


def save(path: Path, value: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(value, size)).save(path)


def save_clip(folder: Path, values: dict[int, int]) -> None:
    for number, value in values.items():
        save(folder / f"{number:07d}.png", value)


def save_video(path: Path, num_frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(25)) as writer:
        for number in range(num_frames):
            writer.write(picture(20 * number, (32, 32)))


def read(
    folder: Path, source: str | None = None
) -> tuple[list[UnitFrame], list[Dropped], dict[str, str]]:
    units, missing, _ = pair_folders(
        folder / "real", folder / "generated", None if source is None else folder / source
    )
    items = [item for unit in units for item in unit.read()]
    rows = [item for item in items if isinstance(item, UnitFrame)]
    return rows, [item for item in items if isinstance(item, Dropped)], missing


def test_landmarks_come_with_the_real_frames_of_clips_and_of_pictures(tmp_path):
    found = np.random.default_rng(0).uniform(0, 8, (3, 68, 2)).astype(np.float16)
    (tmp_path / "landmarks").mkdir()
    for side in ("real", "generated"):
        save_clip(tmp_path / side / "p#a", {3: 0, 4: 10, 9: 20})
        save(tmp_path / side / "p#b.png", 1)
        save(tmp_path / side / "p#c.png", 1)
    np.save(tmp_path / "landmarks" / "p#a.npy", found)
    np.save(tmp_path / "landmarks" / "p#b.png.npy", found[:1])
    units, _, _ = pair_folders(
        tmp_path / "real", tmp_path / "generated", None, tmp_path / "landmarks"
    )
    rows = {(row.clip, row.frame): row for unit in units for row in unit.read()}
    for number, name in enumerate(("0000003", "0000004", "0000009")):
        np.testing.assert_array_equal(rows["p#a", name].landmarks, found[number])
    np.testing.assert_array_equal(rows["p#b", "0000000"].landmarks, found[0])
    assert np.isnan(rows["p#c", "0000000"].landmarks).all()
    files = {file.name for unit in units for file in unit.files}
    assert {"p#a.npy", "p#b.png.npy"} <= files


def test_pictures_are_paired_by_name_whatever_their_order_and_ending(tmp_path):
    for name, value in [("p1#a", 1), ("p2#b", 2), ("p3#c", 3)]:
        save(tmp_path / "real" / f"{name}.png", value)
    for name, value in [("p3#c", 3), ("p1#a", 1), ("p2#b", 2)]:
        save(tmp_path / "generated" / f"{name}.bmp", value)
    rows, dropped, missing = read(tmp_path)
    assert [(row.clip, row.identity) for row in rows] == [
        ("p1#a", "p1"),
        ("p2#b", "p2"),
        ("p3#c", "p3"),
    ]
    for row in rows:
        np.testing.assert_array_equal(row.real, row.generated)
    assert not dropped
    assert not missing


def test_numbered_pictures_are_one_clip(tmp_path):
    save_clip(tmp_path / "real", {3: 30, 10: 100})
    save(tmp_path / "real" / "__MACOSX" / "3.png", 0)
    save(tmp_path / "real" / "._3.png", 0)
    save(tmp_path / "generated" / "3.png", 31)
    save(tmp_path / "generated" / "10.png", 101)
    rows, _, _ = read(tmp_path)
    assert [(row.frame, int(row.real[0, 0, 0]), int(row.generated[0, 0, 0])) for row in rows] == [
        ("0000003", 30, 31),
        ("0000010", 100, 101),
    ]
    assert len({row.clip for row in rows}) == 1


def test_videos_folders_and_sources_of_one_name_go_together(tmp_path):
    save_video(tmp_path / "real" / "p#a.mp4", 3)
    (tmp_path / "real" / "p#a.mp4").rename(tmp_path / "real" / "p#a.ts")  # read by its content
    save_clip(tmp_path / "generated" / "p#a", {})
    for number in range(3):
        save(tmp_path / "generated" / "p#a" / f"{number}.png", number, (32, 32))
    save(tmp_path / "source" / "p#a.png", 77)
    rows, _, _ = read(tmp_path, "source")
    assert [row.frame for row in rows] == ["0000000", "0000001", "0000002"]
    assert all(row.source[0, 0, 0] == 77 for row in rows)


@pytest.mark.parametrize(
    ("real", "generated", "sentence"),
    [
        ({0: 1, 1: 1}, {0: 1}, "0000001 in .*real.*no more is in .*generated"),
        ({0: 1}, {0: 1, 1: 1}, "no more in .*real.*0000001 is in .*generated"),
        ({0: 1, 1: 1}, {0: 1, 2: 1}, "0000001 in .*real.*0000002 is in .*generated"),
    ],
)
def test_clips_whose_frames_differ_are_never_paired_by_position(
    tmp_path, real, generated, sentence
):
    save_clip(tmp_path / "real" / "a", real)
    save_clip(tmp_path / "generated" / "a", generated)
    with pytest.raises(InputError, match=sentence):
        read(tmp_path)


@pytest.mark.parametrize("double", ["1.png", "0000001.jpg"])
def test_two_frames_of_one_number_are_refused_by_name(tmp_path, double):
    for side in ("real", "generated"):
        save_clip(tmp_path / side / "a", {0: 1, 1: 2})
        save(tmp_path / side / "a" / double, 3)
    with pytest.raises(InputError, match=rf"real.*(0000001.png|{double}) have the same name"):
        read(tmp_path)


def test_a_name_that_is_no_text_is_refused(tmp_path):
    for side in ("real", "generated"):
        save(tmp_path / side / "a\rb.png", 1)
    with pytest.raises(InputError, match="not one line of UTF-8: rename it"):
        read(tmp_path)


def test_names_in_one_folder_only_are_listed(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / "real" / f"{name}.png", 1)
    for name in ("b", "c"):
        save(tmp_path / "generated" / f"{name}.png", 1)
    rows, _, missing = read(tmp_path)
    assert [row.clip for row in rows] == ["b"]
    assert sorted(missing) == ["a", "c"]
    assert "generated" in missing["a"]
    assert "real" in missing["c"]


def test_corrupt_pictures_and_other_sizes_are_dropped_by_name(tmp_path):
    for name in ("a", "b", "c"):
        save(tmp_path / "real" / f"{name}.png", 1)
    save(tmp_path / "generated" / "a.png", 1)
    (tmp_path / "generated" / "b.png").write_bytes(b"no picture")
    save(tmp_path / "generated" / "c.png", 1, (8, 6))
    rows, dropped, _ = read(tmp_path)
    assert [row.clip for row in rows] == ["a"]
    assert [item.name for item in dropped] == ["b", "c"]
    assert "not a readable picture" in dropped[0].reason
    assert "8 x 8 pixels, the generated one 6 x 8" in dropped[1].reason


def test_folders_that_cannot_be_compared_are_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"--real .*real is no folder"):
        read(tmp_path)
    save(tmp_path / "real" / "a.png", 1)
    (tmp_path / "generated").mkdir()
    with pytest.raises(InputError, match=r"--generated .*generated holds no pictures"):
        read(tmp_path)
    save(tmp_path / "generated" / "b.png", 1)
    with pytest.raises(InputError, match=r"No name is in all of"):
        read(tmp_path)
    save(tmp_path / "generated" / "a.png", 1)
    save(tmp_path / "generated" / "a.jpg", 1)
    with pytest.raises(InputError, match="same name"):
        read(tmp_path)
