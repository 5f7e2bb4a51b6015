import json

import pytest
import torch

from benchmarks import report
from benchmarks.report import (
    BenchmarkResult,
    BenchmarkTable,
    cpu_info,
    describe_hardware,
    markdown,
    read,
    rows_as_markdown,
    text,
)
from benchmarks.timing import Spread
from utils.errors import InputError
from utils.worker_pool import usable_cores

SPREAD = Spread.of([1.0, 2.0, 3.0, 4.0, 5.0])
TENTH = Spread.of([0.1, 0.2, 0.3, 0.4, 0.5])
RESULT = BenchmarkResult(
    benchmark="inference",
    settings={"config": "tiny", "batch": 2},
    hardware={"CPU": "A fast one", "memory, GiB": 23.456, "oneDNN": True},
    tables=[
        BenchmarkTable(
            title="Frames",
            rows=[
                {"network": "plain", "ms": SPREAD, "frames": 1234567},
                {
                    "network": "fused",
                    "ms": TENTH,
                    "difference": 0.000123,
                },
            ],
            note="What it means.",
        )
    ],
)


def test_json_keeps_every_value_and_its_type(tmp_path):
    path = tmp_path / "result.json"
    RESULT.write_json(path)
    assert read(path) == RESULT
    saved = json.loads(path.read_text())
    assert saved["tables"][0]["rows"][0]["ms"] == {
        "median": 3.0,
        "lowest": 1.0,
        "quartiles": [2.0, 4.0],
        "highest": 5.0,
        "repeats": 5,
    }
    assert [type(value) for value in read(path).settings.values()] == [str, int]


def test_the_markdown_shows_what_was_measured_where():
    assert markdown(RESULT) == (
        "## Inference\n\n"
        "Hardware: CPU A fast one, memory, GiB 23.5, oneDNN yes.\n\n"
        "Settings: config tiny, batch 2.\n\n"
        "### Frames\n\n"
        "| network | ms | frames | difference |\n"
        "| --- | --- | --- | --- |\n"
        "| plain | 3 (2 to 4) | 1,234,567 | - |\n"
        "| fused | 0.3 (0.2 to 0.4) | - | 0.000123 |\n\n"
        "What it means."
    )


def test_a_column_that_comes_up_late_stands_last():
    table = rows_as_markdown([{"a": 1}, {"b": 2, "a": 3}])
    assert table == "| a | b |\n| --- | --- |\n| 1 | - |\n| 3 | 2 |"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1234.5, "1,234"),
        (123.4, "123"),
        (99.96, "100"),
        (12.34, "12.3"),
        (0.0, "0"),
        (0, "0"),
        (None, "-"),
        ("", "-"),
        (False, "no"),
        ("text", "text"),
    ],
)
def test_a_value_has_three_digits(value, shown):
    assert text(value) == shown


@pytest.mark.parametrize("content", ["", "{}", '{"benchmark": 3}', "[1]"])
def test_a_file_that_holds_no_result_is_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"other\.json is not a result of python -m benchmarks"):
        read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "none.json")


CPU = torch.device("cpu")
INFO = """processor\t: 0
model name\t: A fast one
flags\t\t: fpu avx2 amx_bf16 avx512_bf16

processor\t: 1
model name\t: Another
"""


def test_the_cpu_is_named_as_linux_names_it(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(INFO)
    monkeypatch.setattr(report, "CPU_INFO", path)
    found = describe_hardware(CPU)
    assert found["CPU"] == "A fast one"
    assert found["instructions"] == "avx2 avx512_bf16 amx_bf16"


def test_elsewhere_the_cpu_still_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "CPU_INFO", tmp_path / "none")
    assert cpu_info("model name") == ""
    found = describe_hardware(CPU)
    assert found["CPU"]
    assert found["instructions"] == ""


def test_the_description_says_what_figures_depend_on():
    found = describe_hardware(CPU)
    assert found["device"] == "cpu"
    assert found["PyTorch"] == torch.__version__
    assert found["cores"] == usable_cores() >= 1
    assert found["threads"] == torch.get_num_threads()
