"""Every subcommand from its arguments to its tables, on a tiny network."""

from pathlib import Path

import pytest

from benchmarks import data, inference, memory
from benchmarks.__main__ import main
from benchmarks.report import Result, Row, markdown, read
from benchmarks.timing import Spread
from tests.tiny_run import write_checkpoint


def result_of(folder: Path, *arguments: object) -> Result:
    output = folder / "result.json"
    assert main([*map(str, arguments), "--output", str(output)]) == 0
    return read(output)


def rows_of(result: Result, title: str) -> list[Row]:
    (rows,) = (table.rows for table in result.tables if table.title == title)
    assert rows
    return rows


def numbers(rows: list[Row], column: str) -> list[float]:
    values = [row[column] for row in rows]
    medians = [value.median if isinstance(value, Spread) else value for value in values]
    assert all(isinstance(value, (int, float)) for value in medians)
    return [float(value) for value in medians if isinstance(value, (int, float))]


def test_inference_compares_every_form_with_the_plain_one(tmp_path, config, monkeypatch):
    monkeypatch.setattr(inference, "SWEEP_SIDES", (16, 32))
    monkeypatch.setitem(inference.SWEEP_BATCHES, "cpu", (1, 3))
    options = ["--config", config, "--device", "cpu", "--seconds", 0, "--sweep"]
    result = result_of(tmp_path, "inference", *options)
    assert result.settings == {"config": "tiny", "frames": "32 x 32", "weights": "random"}

    frames = rows_of(result, "Frames")
    ways = [(row["form"], row["precision"], row["batch"]) for row in frames]
    assert ways[0] == ("plain", "fp32", 1)
    assert ways[1:] == [("fast", one, batch) for one in ("fp32", "bf16") for batch in (1, 4)]
    plain, *fast = frames
    assert plain["times the plain"] == 1
    assert plain["largest difference"] == 0
    for row in fast:
        times, rate = row["times the plain"], row["frames/s"]
        assert isinstance(times, float)
        assert times == pytest.approx(rate / plain["frames/s"])
        limit = 0.05 if row["precision"] == "fp32" else 20
        assert 0 < row["mean difference"] <= row["largest difference"] < limit
    parts = rows_of(result, "Parameters and operations")
    whole = parts[-1]["GFLOP"]
    assert isinstance(whole, float)
    assert plain["executed, GFLOP"] == pytest.approx(whole)
    assert all(0 < gflop < whole for gflop in numbers(fast, "executed, GFLOP"))

    steps = rows_of(result, "Steps")
    assert [row["step"] for row in steps] == ["encode"] * 3 + ["detect"] * 3 + ["render"] * 3
    assert {row["frame"] for row in rows_of(result, "By size of frames")} == {"16 x 16", "32 x 32"}
    batches = rows_of(result, "By batch")
    assert [row["batch"] for row in batches] == [1, 1, 3, 1, 3]
    (animation,) = rows_of(result, "Whole animation")
    assert animation["frames"] == 10
    (share,) = numbers([animation], "network / wall")
    assert 0 < share <= 1


def test_inference_measures_the_weights_of_a_checkpoint(tmp_path, config):
    checkpoint = write_checkpoint(tmp_path / "tiny", tmp_path / "clips")
    options = ["--config", config, "--checkpoint", checkpoint, "--device", "cpu", "--seconds", 0]
    result = result_of(tmp_path, "inference", *options)
    assert result.settings["weights"] == str(checkpoint)
    assert len(rows_of(result, "Frames")) == 5


@pytest.mark.usefixtures("fresh_accelerator")
def test_training_is_compared_with_the_plain_one(tmp_path, config):
    options = ["--config", config, "--device", "cpu", "--batch-size", 3, "--seconds", 0]
    result = result_of(tmp_path, "training", *options, "--set", "train.precision=bf16")
    assert result.settings["batch"] == 3
    assert result.settings["VGG-19"] == "random"
    plain, ours = rows_of(result, "Training steps")
    assert (plain["arithmetic"], ours["arithmetic"]) == ("fp32", "bf16")
    assert plain["times the plain"] == 1
    assert plain["GFLOP a sample"] == ours["GFLOP a sample"]
    parts = rows_of(result, "Parts of a training step")
    assert [row["part"] for row in parts] == ["forward", "backward", "optimizer"]
    assert sum(numbers(parts, "of the step, %")) == pytest.approx(100)
    memory = rows_of(result, "Memory of a training step")
    assert [row["training"] for row in memory] == [
        "plain",
        "ours",
        "ours, activation_checkpointing",
    ]
    assert all(peak > 50 for peak in numbers(memory, "peak resident, MiB"))


def test_data_counts_what_reaches_the_training(tmp_path, config, monkeypatch):
    monkeypatch.setattr(data, "usable_cores", lambda: 2)
    options = ["--config", config, "--root", tmp_path / "clips", "--seconds", 0.1]
    result = result_of(tmp_path, "data", *options)
    assert result.settings["clips"] == 3
    loader = rows_of(result, "Loader")
    assert [row["workers"] for row in loader] == [0, 2]
    assert [row["cores used"] for row in loader] == [1, 2]
    assert all(rate > 0 for rate in numbers(loader, "frames/s"))
    parts = [row["part"] for row in rows_of(result, "Parts of the loading")]
    assert parts[:3] == ["whole pair", "open, decode, to RGB", "resize"]
    assert "augment: hue" in parts


def test_data_generates_clips_where_none_are_named(tmp_path, config, monkeypatch):
    monkeypatch.setattr(data, "PEOPLE", 2)
    monkeypatch.setattr(data, "CLIP_FRAMES", 3)
    monkeypatch.setattr(data, "usable_cores", lambda: 1)
    monkeypatch.chdir(tmp_path)
    result = result_of(tmp_path, "data", "--config", config, "--seconds", 0)
    assert result.settings["clips"] == 2


def test_memory_is_that_of_clips_and_of_batches(tmp_path, config, monkeypatch):
    monkeypatch.setitem(memory.BATCHES, "cpu", (2,))
    options = ["--config", config, "--device", "cpu", "--length", 0.2, "--length", 0.4]
    result = result_of(tmp_path, "memory", *options)
    clips = rows_of(result, "Whole animations")
    motions = rows_of(result, "Saved motions")
    for rows in (clips, motions):
        assert numbers(rows, "clip, s") == [0.2, 0.4]
        assert numbers(rows, "times the first")[0] == 1
    batches = rows_of(result, "One batch of frames")
    assert [(row["form"], row["batch"]) for row in batches] == [("plain", 1)] + 2 * [("fast", 2)]
    assert all(peak > 50 for peak in numbers(clips + motions + batches, "peak resident, MiB"))


def test_a_saved_result_is_shown_as_it_was(tmp_path, config, capsys):
    options = ["--config", config, "--device", "cpu", "--seconds", 0]
    result = result_of(tmp_path, "inference", *options)
    shown = capsys.readouterr().out
    path = tmp_path / "result.json"
    assert main(["table", str(path), str(path)]) == 0
    assert capsys.readouterr().out == f"{markdown(result)}\n\n{markdown(result)}\n"
    assert shown == f"{markdown(result)}\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inference", "--config", "none.yaml"], "There is no configuration none.yaml"),
        (["inference", "--device", "abacus"], "No device is called 'abacus'"),
        (["memory", "--checkpoint", "none"], "There is no checkpoint none."),
        (["data", "--root", "none"], "The data folder none does not exist"),
        (["data", "--set", "data.size=[32,64]"], "name clips with --root"),
        (["training", "--set", "train.nothing=1"], "train.nothing"),
        (["table", "none.json"], "none.json cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error.splitlines()[-1]


@pytest.mark.usefixtures("fresh_accelerator")
def test_training_takes_no_other_device_than_its_own(capsys, config, monkeypatch):
    monkeypatch.setattr("utils.device.pick_device", lambda name: __import__("torch").device("mps"))
    assert main(["training", "--config", config, "--device", "mps"]) == 2
    assert "Training takes the device cpu here, not mps" in capsys.readouterr().err
