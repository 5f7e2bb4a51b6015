import json
import os
from itertools import chain

import pytest

from datasets.preprocessing.run import Outcome, Report, Shard, merge, read_report
from utils.errors import InputError

OUTCOMES = [
    Outcome("b", "train"),
    Outcome("a", "train"),
    Outcome("c", "test"),
    Outcome("e", "test", "unreadable video", "e.mp4 is damaged."),
    Outcome("d", "train", "missing video"),
    Outcome("f", "train", "missing video"),
]


def report(outcomes, shard="1/1", **settings) -> Report:
    return Report.of("voxceleb", {"size": 256, **settings}, Shard.parse(shard), outcomes)


def test_clips_are_counted_by_split_and_by_reason(tmp_path):
    found = report(OUTCOMES)
    assert found.done == {"test": 1, "train": 2}
    assert found.skipped == {
        "missing video": {"d": "", "f": ""},
        "unreadable video": {"e": "e.mp4 is damaged."},
    }
    assert sum(found.done.values()) == 3
    path = found.write(tmp_path)
    assert path.name == "report.json"
    assert read_report(path) == found
    assert json.loads(path.read_text())["done"] == {"test": 1, "train": 2}
    lines = [line.rsplit(maxsplit=1) for line in found.table().splitlines()]
    assert ["skipped: missing video", "2"] in lines
    assert ["done: train", "2"] in lines


def test_names_that_are_no_utf_8_are_shown_by_their_numbers(tmp_path):
    bad = os.fsdecode(b"a\xff")
    path = report([Outcome(bad, "", "missing video", f"{bad}.mp4")]).write(tmp_path)
    assert read_report(path).skipped == {"missing video": {r"a\udcff": r"a\udcff.mp4"}}


def test_the_order_of_the_outcomes_does_not_matter(tmp_path):
    assert report(OUTCOMES).model_dump_json() == report(OUTCOMES[::-1]).model_dump_json()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_are_all_of_the_work_and_share_nothing(count):
    shares = [Shard.parse(f"{i}/{count}").select(range(23)) for i in range(1, count + 1)]
    assert sorted(chain(*shares)) == list(range(23))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/2", "a/b", "-1/2", "1/2/3", ""])
def test_what_names_no_shard_is_refused(text):
    with pytest.raises(InputError, match="A shard is i/n"):
        Shard.parse(text)


def test_merged_shards_equal_one_run(tmp_path):
    for number in (1, 2, 3):
        shard = Shard(number, 3)
        path = report(shard.select(OUTCOMES), str(shard)).write(tmp_path)
        assert path.name == f"report-{number}-of-3.json"
    assert merge(tmp_path).model_dump_json() == report(OUTCOMES).model_dump_json()


def test_a_missing_shard_is_named(tmp_path):
    report(OUTCOMES, "1/2").write(tmp_path)
    with pytest.raises(InputError, match=r"report-2-of-2\.json"):
        merge(tmp_path)


def test_shards_of_other_settings_or_numbers_do_not_merge(tmp_path):
    report(OUTCOMES, "1/2").write(tmp_path)
    report(OUTCOMES, "2/2", size=128).write(tmp_path)
    with pytest.raises(InputError, match="different settings"):
        merge(tmp_path)
    report(OUTCOMES, "2/2").write(tmp_path)
    report(OUTCOMES, "2/3").write(tmp_path)
    with pytest.raises(InputError, match="different numbers"):
        merge(tmp_path)
    with pytest.raises(InputError, match="no reports of shards"):
        merge(tmp_path / "elsewhere")


@pytest.mark.parametrize("content", ["", "[]", '{"command": "voxceleb"}', "\x00"])
def test_a_damaged_report_is_named(tmp_path, content):
    report(OUTCOMES, "1/2").write(tmp_path)
    path = tmp_path / "report-2-of-2.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"report-2-of-2\.json is not a report"):
        merge(tmp_path)
