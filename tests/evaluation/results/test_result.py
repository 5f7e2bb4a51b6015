import json
import warnings

import numpy as np
import pytest

from evaluation.results.result import group_results, read_result, summarise, write_result
from tests.evaluation.tables import NAN, frame_table, random_table, result_of
from utils.errors import InputError

INF = float("inf")


def test_means_by_clip_and_identity_are_those_by_hand():
    table = frame_table(
        {"l1": [1.0, 2.0, 6.0, 7.0], "akd": [NAN, 4.0, NAN, NAN]},
        ["b1", "b1", "a1", "b2"],
        is_source=[True, False, True, False],
    )
    summary = summarise(table, {}, None, 0, seed=0)
    assert summary["counts"] == {"frames": 4, "clips": 3, "identities": 2}
    assert summary["by_clip"] == {
        "b1": {"identity": "b", "frames": 2, "metrics": {"l1": 1.5, "akd": 4.0}},
        "a1": {"identity": "a", "frames": 1, "metrics": {"l1": 6.0, "akd": None}},
        "b2": {"identity": "b", "frames": 1, "metrics": {"l1": 7.0, "akd": None}},
    }
    assert list(summary["by_clip"]) == ["b1", "a1", "b2"]
    assert summary["by_identity"] == {
        "b": {"clips": 2, "frames": 3, "metrics": {"l1": 10 / 3, "akd": 4.0}},
        "a": {"clips": 1, "frames": 1, "metrics": {"l1": 6.0, "akd": None}},
    }
    l1, akd = summary["metrics"]["l1"], summary["metrics"]["akd"]
    assert l1["mean"] == 4
    assert l1["frames"] == 4
    assert l1["without_source_frames"]["mean"] == 4.5
    assert l1["without_source_frames"]["frames"] == 2
    assert (l1["clips"], akd["clips"]) == (3, 1)
    assert l1["dropped"] == {}
    assert akd["mean"] == 4
    assert akd["interval"] is None  # only one clip has a value
    assert akd["dropped"] == {"no face": ["b1/0000000", "a1/0000000", "b2/0000000"]}


def test_a_result_stands_beside_that_of_copying_the_source():
    """One of six frames is the source; two others are further from it than the median."""
    table = frame_table(
        {"l1": [0.0, 0.1, 0.1, 0.2, 0.1, 0.3], "psnr": [INF, 30.0, NAN, 26.0, 31.0, 20.0]},
        ["a", "a", "a", "b", "b", "b"],
        is_source=[True, False, False, False, False, False],
        copied={
            "l1": [0.0, 0.05, 0.2, 0.3, 0.1, 0.4],
            "psnr": [INF, 33.0, 28.0, 22.0, 31.0, 19.0],
        },
    )
    summary = summarise(table, {}, None, 0, seed=0)
    assert summary["moved"] == {"frames": 2, "l1": 0.2}
    copy = summary["metrics"]["l1"]["copy_source"]
    means = {name: part["mean"] for name, part in copy["without_source_frames"].items()}
    assert means == pytest.approx({"result": 0.16, "copy_source": 0.21, "difference": -0.05})
    moved = summary["metrics"]["psnr"]["copy_source"]["moved"]
    assert {name: part["mean"] for name, part in moved.items()} == {
        "result": 23.0,
        "copy_source": 20.5,
        "difference": 2.5,
    }
    assert moved["difference"]["interval"] is None  # of one clip
    every = summary["metrics"]["psnr"]["copy_source"]["without_source_frames"]
    assert {part["frames"] for part in every.values()} == {4}  # those with both values
    assert every["difference"]["interval"] == pytest.approx([-3.0, 5 / 3])


def test_means_by_group_are_those_of_a_loop():
    values = [1.0, 5.0, NAN, 2.0, NAN, INF]
    clips = ["c", "a", "b", "c", "a", "e"]
    expected = {}
    for clip in dict.fromkeys(clips):
        own = [v for v, c in zip(values, clips, strict=True) if c == clip and np.isfinite(v)]
        expected[clip] = {"psnr": sum(own) / len(own) if own else None}
    found = group_results(frame_table({"psnr": values}, clips), "clip")
    assert [(clip, group["metrics"]) for clip, group in found.items()] == [*expected.items()]
    assert [group["metrics"]["psnr"] for group in found.values()] == [1.5, 5, None, None]
    assert [group["frames"] for group in found.values()] == [2, 2, 1, 1]


def test_without_l1_which_frames_moved_is_not_known():
    table = frame_table({"psnr": [1.0]}, ["a"], copied={"psnr": [2.0]})
    summary = summarise(table, {}, None, 0, seed=0)
    assert "moved" not in summary
    assert summary["metrics"]["psnr"]["copy_source"]["moved"] is None


def test_metrics_stand_in_the_order_of_the_columns_with_fid_and_the_unavailable():
    table = frame_table({"psnr": [1.0], "l1": [2.0]}, ["c"])
    metrics = summarise(table, {"aed": "no weights", "akd": "no net"}, 12.5, 99, 0)["metrics"]
    assert list(metrics) == ["l1", "psnr", "akd", "aed", "fid"]
    assert metrics["aed"] == {"unavailable": "no weights"}
    assert metrics["fid"] == {
        "mean": 12.5,
        "interval": None,
        "frames": 99,
        "dropped": {},
        "without_source_frames": None,
    }
    assert metrics["l1"]["without_source_frames"] is None


def test_a_table_without_frames_has_no_means():
    summary = summarise(frame_table({"l1": []}, []), {}, None, 0, seed=0)
    assert summary["counts"] == {"frames": 0, "clips": 0, "identities": 0}
    assert summary["metrics"]["l1"]["mean"] is None
    assert summary["by_clip"] == {}


def test_a_result_reads_back_equal_and_has_no_infinite_number(tmp_path):
    table = frame_table(
        {"psnr": [INF, INF, 30.0, NAN], "l1": [0.0, 0.1, 1 / 3, 0.5]},
        ["Zoë", "inf", "inf", "c"],
        identities=["inf", "-inf", "-inf", "nan"],
        is_source=[True, False, False, False],
        copied={"psnr": [INF, 20.0, INF, 1.0], "l1": [0.0, 0.2, 0.3, 0.1]},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = result_of(table, conditions={"limit": "inf", "weights": {"aed": None}})
    write_result(tmp_path, result)
    assert read_result(tmp_path / "result.json") == result
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]

    stored = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    psnr = stored["metrics"]["psnr"]
    assert (psnr["mean"], psnr["frames"], psnr["identical"]) == (30, 1, 2)
    assert psnr["without_source_frames"] == {
        "mean": 30,
        "interval": None,
        "frames": 1,
        "identical": 1,
    }
    assert "identical" not in stored["metrics"]["l1"]
    assert stored["by_clip"]["c"]["metrics"]["psnr"] is None
    assert stored["by_clip"]["Zoë"]["metrics"]["psnr"] is None


def test_results_of_earlier_versions_with_infinite_numbers_are_read(tmp_path):
    write_result(tmp_path, result_of(random_table(3)))
    stored = json.loads((tmp_path / "result.json").read_text())
    stored["metrics"]["l1"]["mean"] = "inf"
    (tmp_path / "result.json").write_text(json.dumps(stored))
    found = read_result(tmp_path / "result.json")["metrics"]["l1"]
    assert "unavailable" not in found
    assert found["mean"] == INF


def test_paths_that_are_no_utf_8_and_all_letters_read_back(tmp_path):
    result = result_of(random_table(3))
    result["conditions"] |= {"real": "clips\udcff", "source": "Ångström"}
    write_result(tmp_path, result)
    conditions = read_result(tmp_path / "result.json")["conditions"]
    assert (conditions["real"], conditions["source"]) == ("clips?", "Ångström")


def test_a_result_of_an_earlier_version_that_does_not_count_clips_can_be_read(tmp_path):
    write_result(tmp_path, result_of(random_table(3)))
    path = tmp_path / "result.json"
    stored = json.loads(path.read_text())
    for metric in stored["metrics"].values():
        metric.pop("clips", None)
    path.write_text(json.dumps(stored))
    assert "clips" not in read_result(path)["metrics"]["l1"]


def change(text: str, *keys: str, value: object) -> str:
    """JSON with another value at a place."""
    result = inner = json.loads(text)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return json.dumps(result)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:500], "Invalid JSON"),
        (lambda text: "[1, 2]", "should be an object"),
        (lambda text: "{}", "counts: Field required"),
        (lambda text: change(text, "protocol", value="audio"), "protocol: Input should be 'video'"),
        (lambda text: change(text, "metrics", "l1", "mean", value="x"), "metrics.l1.*valid number"),
        (lambda text: change(text, "metrics", "l1", "mean", value=NAN), "metrics.l1.*missing"),
        (lambda text: change(text, "metrics", "l7", value=1), "unknown column 'l7'"),
        (lambda text: change(text, "counts", "frames", value=1.5), "counts.frames"),
        (lambda text: change(text, "other", value=1), "other: Extra inputs"),
    ],
)
def test_a_damaged_or_foreign_result_is_one_sentence(tmp_path, damage, message):
    write_result(tmp_path, result_of(random_table(3)))
    path = tmp_path / "result.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=message) as raised:
        read_result(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_absent_result_or_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"No such file.*: name the result.json"):
        read_result(tmp_path / "result.json")
    with pytest.raises(InputError, match="directory"):
        read_result(tmp_path)
