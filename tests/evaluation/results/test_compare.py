import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evaluation.results.compare import compare, comparison_markdown
from evaluation.results.frame_table import write_frame_table
from evaluation.results.result import write_result
from evaluation.results.tables import NOTHING
from tests.evaluation.tables import NAN, frame_table, random_table, result_of
from utils.errors import InputError

INF = float("inf")


def written(folder: Path, table: pd.DataFrame, **changes) -> Path:
    """The result.json of a table, with its frames beside."""
    folder.mkdir()
    write_result(folder, result_of(table, **changes))
    write_frame_table(folder / "frames.csv", table)
    return folder / "result.json"


def shifted(table: pd.DataFrame, **shifts: float) -> pd.DataFrame:
    """A table with other values, the differences varying from frame to frame."""
    noise = np.random.default_rng(9).normal(scale=0.001, size=len(table))
    return table.assign(**{column: table[column] + by + noise for column, by in shifts.items()})


def verdicts(a: Path, b: Path) -> dict[str, str]:
    return {row.column: row.verdict for row in compare(a, b, seed=0).rows}


def test_verdicts_follow_the_direction_of_each_column(tmp_path):
    table = random_table(12)
    a = written(tmp_path / "a", table)
    more = written(tmp_path / "more", shifted(table, l1=0.01, psnr=0.01))
    found = compare(a, more, seed=0)
    assert verdicts(a, more) == {
        "l1": "A better",  # b is larger where lower is better
        "psnr": "B better",
        "akd": "no difference shown",
        "fid": "not tested",
    }
    assert verdicts(more, a)["l1"] == "B better"
    assert verdicts(more, a)["psnr"] == "A better"
    assert found.rows[0].difference == pytest.approx(0.01, abs=0.001)
    assert found.rows[0].mean_b - found.rows[0].mean_a == pytest.approx(found.rows[0].difference)
    assert found.rows[2].interval == (0, 0)  # akd is the same


def test_noise_alone_shows_no_difference(tmp_path):
    table = random_table(12)
    found = compare(
        written(tmp_path / "a", table), written(tmp_path / "b", shifted(table, l1=0.0)), seed=0
    )
    assert found.rows[0].verdict == "no difference shown"
    low, high = found.rows[0].interval
    assert low < 0 < high


def test_pairing_finds_what_is_smaller_than_the_spread_of_clips(tmp_path):
    table = random_table(12)
    found = compare(
        written(tmp_path / "a", table), written(tmp_path / "b", shifted(table, l1=0.001)), seed=0
    )
    low, high = result_of(table)["metrics"]["l1"]["interval"]
    assert high - low > 0.003
    assert found.rows[0].verdict == "A better"


def test_frames_are_paired_by_name_and_where_both_have_a_value(tmp_path):
    a = frame_table({"akd": [1.0, NAN, 3.0, 4.0]}, ["p", "p", "q", "q"])
    b = frame_table(
        {"akd": [14.0, 50.0, 13.0, 10.0, 11.0]},
        ["q", "r", "q", "p", "p"],
        frames=["0000001", "0000000", "0000000", "0000000", "0000001"],
    )
    found = compare(written(tmp_path / "a", a), written(tmp_path / "b", b), seed=0)
    row = found.rows[0]
    assert (row.mean_a, row.mean_b, row.frames) == (8 / 3, 37 / 3, 3)
    assert row.difference == pytest.approx(29 / 3)
    assert row.interval == (9, 10)  # p alone, q alone
    assert (found.num_common_frames, found.num_frames_a, found.num_frames_b) == (4, 4, 5)


def test_frames_that_the_source_drives_itself_are_left_out(tmp_path):
    a = frame_table({"psnr": [INF, 30.0]}, ["p", "p"], is_source=[True, False])
    b = frame_table({"psnr": [50.0, 31.0]}, ["p", "p"], is_source=[True, False])
    found = compare(written(tmp_path / "a", a), written(tmp_path / "b", b), seed=0)
    assert (found.rows[0].difference, found.num_common_frames) == (1, 1)


def test_infinite_values_that_are_equal_do_not_differ(tmp_path):
    a = frame_table({"psnr": [INF, 30.0, 20.0]}, ["p", "q", "r"])
    b = frame_table({"psnr": [INF, 31.0, 21.0]}, ["p", "q", "r"])
    better = frame_table({"psnr": [INF, INF, INF]}, ["p", "q", "r"])
    mixed = frame_table({"psnr": [1.0, INF, 20.0]}, ["p", "q", "r"])
    paths = [written(tmp_path / str(i), table) for i, table in enumerate((a, b, better, mixed))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = [compare(paths[0], path, seed=0).rows[0] for path in paths]
    assert rows[0].difference == 0
    assert rows[1].difference == pytest.approx(2 / 3)
    assert (rows[2].difference, rows[2].mean_b, rows[2].frames) == (0, None, 1)
    assert (rows[2].identical_a, rows[2].identical_b) == (1, 3)
    assert (rows[3].difference, rows[3].mean_b, rows[3].frames) == (0, 10.5, 1)


def test_one_clip_is_not_tested(tmp_path):
    table = frame_table({"l1": [1.0, 2.0]}, ["p", "p"])
    a, b = written(tmp_path / "a", table), written(tmp_path / "b", shifted(table, l1=5.0))
    assert compare(a, b, seed=0).rows[0].verdict == "not tested"


def test_columns_and_conditions_of_only_one_are_listed(tmp_path):
    table = frame_table({"l1": [0.1, 0.2], "akd": [1.0, 2.0]}, ["p", "q"])
    fewer = frame_table({"l1": [0.1, 0.2], "ssim": [1.0, 2.0]}, ["p", "q"])
    a = written(tmp_path / "a", table)
    b = written(
        tmp_path / "b",
        fewer,
        conditions={"checkpoint": "runs/other", "versions": {"torch": "2.9", "numpy": "2"}},
    )
    found = compare(a, b, seed=0)
    assert [row.column for row in found.rows] == ["l1", "fid"]
    assert (found.only_a, found.only_b) == (["akd"], ["ssim"])
    assert found.differing == ["checkpoint", "seed", "versions.numpy"]
    text = comparison_markdown(found)
    assert "Only in A: AKD (px at 256)." in text
    assert "Only in B: SSIM." in text
    assert "Conditions that differ: checkpoint, seed, versions.numpy." in text


def test_a_comparison_is_printed_with_signs_and_stored_as_json(tmp_path):
    a = frame_table({"psnr": [30.0, 20.0]}, ["p", "q"])
    b = frame_table({"psnr": [29.0, INF]}, ["p", "q"])
    found = compare(written(tmp_path / "a", a), written(tmp_path / "b", b), seed=0)
    row = f"| PSNR (dB) ↑ | 25.00 | 29.00 (+ 1 identical) | -1.000 | {NOTHING} | 1 | not tested |"
    assert row in comparison_markdown(found).splitlines()
    data = json.loads(found.model_dump_json())
    assert (data["rows"][0]["difference"], data["rows"][0]["identical_b"]) == (-1, 1)
    assert data["a"].endswith("a/result.json")


def test_a_path_that_is_no_utf_8_is_stored_by_its_numbers(tmp_path):
    table = frame_table({"l1": [0.1, 0.2]}, ["p", "q"])
    found = compare(written(tmp_path / "\udcff", table), written(tmp_path / "b", table), seed=0)
    found.write_json(tmp_path / "compared.json")
    assert json.loads((tmp_path / "compared.json").read_text())["a"].endswith(r"\udcff/result.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"protocol": "folders"}, "protocol differs: video and folders"),
        ({"cross_identity": True}, "identity differs: same and cross"),
        ({"conditions": {"pairs_sha256": "ab12"}}, r"pair list \(SHA-256\) differs: none and ab12"),
    ],
)
def test_what_does_not_mean_the_same_is_not_compared(tmp_path, changes, message):
    table = random_table(3)
    a, b = written(tmp_path / "a", table), written(tmp_path / "b", table, **changes)
    with pytest.raises(InputError, match=message):
        compare(a, b, seed=0)


def test_results_without_a_common_frame_are_refused(tmp_path):
    tables = [frame_table({"l1": [1.0, 2.0]}, [clip, clip]) for clip in "pq"]
    a, b = (written(tmp_path / str(i), table) for i, table in enumerate(tables))
    with pytest.raises(InputError, match="no frame in common"):
        compare(a, b, seed=0)


def test_a_result_of_an_earlier_version_is_compared_by_todays_names(tmp_path):
    table = frame_table({"ssim_published": [0.5, 0.25]}, ["a", "b"])
    networks = {"networks": {"ssim_published": "a network"}}
    a, b = (written(tmp_path / name, table, conditions=networks) for name in "ab")
    for path in (a, a.with_name("frames.csv")):
        earlier = path.read_text().replace("_published", "_reference")
        assert "_reference" in earlier
        path.write_text(earlier)
    found = compare(a, b, seed=0)
    assert [row.column for row in found.rows] == ["ssim_published", "fid"]
    assert found.rows[0].difference == 0
    assert (found.only_a, found.only_b, found.differing) == ([], [], [])


@pytest.mark.parametrize("other", [random_table(4), frame_table({"l1": [0.0] * 12}, ["p"] * 12)])
def test_frames_of_another_evaluation_are_refused(tmp_path, other):
    table = random_table(3)
    a, b = written(tmp_path / "a", table), written(tmp_path / "b", table)
    write_frame_table(tmp_path / "b" / "frames.csv", other)
    with pytest.raises(InputError, match="not of the same evaluation"):
        compare(a, b, seed=0)
