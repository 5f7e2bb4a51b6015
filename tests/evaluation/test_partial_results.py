import numpy as np
import pandas as pd
import pytest

from evaluation.partial_results import PartialResults, UnitResult
from tests.evaluation.tables import frame_table
from utils.errors import InputError


def part(clip: str, values: list[float], dropped: dict[str, str] | None = None) -> UnitResult:
    table = frame_table({"l1": values}, [clip] * len(values))
    features = np.array([values, values], np.float32).T
    return UnitResult(table, (features, features + 1), dropped or {}, seconds=2.5)


@pytest.fixture
def parts(tmp_path):
    return PartialResults(tmp_path / "parts", num_units=2)


def test_what_is_written_comes_back_in_the_order_of_the_units(parts):
    parts.write(1, part("b", [0.3, 0.25], dropped={"x": "damaged"}))
    assert not parts.has(0)
    parts.write(0, part("a", [0.1]))
    assert parts.has(0)
    table = pd.concat(parts.tables())
    assert table["clip"].tolist() == ["a", "b", "b"]
    assert table["l1"].tolist() == [0.1, 0.3, 0.25]
    assert parts.dropped() == {"x": "damaged"}
    assert parts.seconds() == 5
    first, second = parts.features()
    np.testing.assert_array_equal(first[0], np.float32([[0.1, 0.1]]))
    np.testing.assert_array_equal(second[1], np.float32([[1.3, 1.3], [1.25, 1.25]]))


def test_a_part_may_lack_features_and_frames(parts):
    parts.write(0, part("a", [])._replace(features=None))
    parts.write(1, part("b", [0.5]))
    assert [table["clip"].tolist() for table in parts.tables()] == [[], ["b"]]
    assert len(list(parts.features())) == 1


def begin(parts: PartialResults, settings: dict[str, object]) -> None:
    with parts.locked(settings):
        pass


def test_parts_of_other_settings_are_kept_and_refused(parts):
    settings = {"precision": "fp32", "names": ["a", "b"]}
    begin(parts, settings)
    parts.write(0, part("a", [0.1]))
    begin(parts, settings)
    with pytest.raises(InputError, match=r"another precision \(fp32, now bf16\): name another"):
        begin(parts, settings | {"precision": "bf16"})
    with pytest.raises(InputError, match=r"another names: name another"):
        begin(parts, settings | {"names": [f"{number:07d}" for number in range(500)]})
    assert parts.has(0)


def test_one_evaluation_at_a_time(parts):
    with parts.locked({}):
        other = PartialResults(parts.folder, num_units=2)
        with pytest.raises(InputError, match=f"at work in {parts.folder.parent}: wait"):
            begin(other, {})
    begin(other, {})


@pytest.mark.parametrize("text", ["{", "[]", "3", ""])
def test_damaged_settings_are_a_sentence(parts, text):
    begin(parts, {"precision": "fp32"})
    (parts.folder / "settings.json").write_text(text)
    with pytest.raises(InputError, match=r"is damaged: delete|another precision"):
        begin(parts, {"precision": "fp32"})


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"PK\xff"])
@pytest.mark.parametrize("name", ["frames.csv", "part.json", "features.npz"])
def test_a_damaged_part_is_a_sentence(parts, name, content):
    parts.write(0, part("a", [0.1]))
    parts.write(1, part("b", [0.2]))
    (parts.path(1) / name).write_bytes(content)
    read = {
        "frames.csv": parts.tables,
        "part.json": parts.seconds,
        "features.npz": lambda: list(parts.features()),
    }[name]
    with pytest.raises(InputError, match="parts/000001 is damaged: delete it, and run this again"):
        read()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        begin(PartialResults(tmp_path / "file" / "parts", 1), {})
