"""Every subcommand from its arguments to its tables, on a tiny network."""

import pickle
from pathlib import Path

import pytest

from benchmarks import data, memory, training
from benchmarks.__main__ import main
from benchmarks.processes import RESIDENT, measured
from benchmarks.report import BenchmarkResult, Row, markdown, read
from benchmarks.timing import Spread
from benchmarks.training import VARIANTS, VariantTrainer, first_step, variant_of
from datasets.frame_pairs import FramePairs
from tests.tiny import float64
from tests.tiny_run import write_checkpoint
from training.distributed import start_processes


def result_of(folder: Path, *arguments: object) -> BenchmarkResult:
    output = folder / "result.json"
    assert main([*map(str, arguments), "--output", str(output)]) == 0
    return read(output)


def rows_of(result: BenchmarkResult, title: str) -> list[Row]:
    (rows,) = (table.rows for table in result.tables if table.title == title)
    assert rows
    return rows


def numbers(rows: list[Row], column: str) -> list[float]:
    values = [row[column] for row in rows]
    medians = [value.median if isinstance(value, Spread) else value for value in values]
    assert all(isinstance(value, (int, float)) for value in medians)
    return [float(value) for value in medians if isinstance(value, (int, float))]


def test_inference_compares_every_variant_with_the_plain_network(tmp_path, config):
    options = ["--config", config, "--device", "cpu", "--seconds", 0]
    result = result_of(tmp_path, "inference", *options, "--batch-size", 1, "--batch-size", 3)
    assert result.settings == {"config": "tiny", "frames": "32 x 32", "weights": "random"}

    frames = rows_of(result, "Frames")
    variants = [(row["network"], row["precision"], row["batch"]) for row in frames]
    assert variants[0] == ("plain", "fp32", 1)
    assert variants[1:] == [("fused", one, batch) for one in ("fp32", "bf16") for batch in (1, 3)]
    plain, *fused = frames
    assert plain["speed-up over plain"] == 1
    assert plain["largest difference"] == 0
    for row in fused:
        times, rate = row["speed-up over plain"], row["frames/s"]
        assert isinstance(times, float)
        assert times == pytest.approx(rate / plain["frames/s"])
        limit = 0.05 if row["precision"] == "fp32" else 20
        assert 0 < row["mean difference"] <= row["largest difference"] < limit
    parts = rows_of(result, "Parameters and operations")
    whole = parts[-1]["GFLOP"]
    assert isinstance(whole, float)
    assert plain["executed, GFLOP"] == pytest.approx(whole)
    assert all(0 < gflop < whole for gflop in numbers(fused, "executed, GFLOP"))
    (animation,) = rows_of(result, "Whole animation")
    assert animation["frames"] == 10
    (share,) = numbers([animation], "network / wall")
    assert 0 < share <= 1


def test_a_saved_result_of_a_checkpoint_is_shown_as_it_was(tmp_path, config, capsys):
    checkpoint = write_checkpoint(tmp_path / "tiny", tmp_path / "clips")
    options = ["--config", config, "--checkpoint", checkpoint, "--device", "cpu", "--seconds", 0]
    result = result_of(tmp_path, "inference", *options)
    assert result.settings["weights"] == str(checkpoint)
    assert len(rows_of(result, "Frames")) == 5
    shown = capsys.readouterr().out
    path = tmp_path / "result.json"
    assert main(["table", str(path), str(path)]) == 0
    assert capsys.readouterr().out == f"{markdown(result)}\n\n{markdown(result)}\n"
    assert shown == f"{markdown(result)}\n"


@pytest.mark.usefixtures("fresh_accelerator")
def test_training_is_compared_with_the_plain_one(tmp_path, config, monkeypatch):
    measured = []

    def peaks_of(_, settings, variant):
        measured.append((settings.train.precision, variant))
        return {RESIDENT: 100.0}

    monkeypatch.setattr(training, "peaks_of", peaks_of)
    options = ["--config", config, "--device", "cpu", "--batch-size", 3, "--seconds", 0]
    result = result_of(tmp_path, "training", *options, "--set", "train.precision=bf16")
    assert result.settings["batch"] == 3
    assert result.settings["VGG-19"] == "random"
    rows = rows_of(result, "Training steps")
    assert [(row["precision"], row["training"]) for row in rows] == measured
    assert measured == [
        ("fp32", "plain"),
        ("bf16", "as configured"),
        ("bf16", "activation checkpointing"),
    ]
    assert rows[0]["speed-up over plain"] == 1
    assert len(set(numbers(rows, "GFLOP per sample"))) == 1
    assert numbers(rows, "peak resident, MiB") == [100] * 3


@pytest.mark.usefixtures("fresh_accelerator")
@pytest.mark.parametrize("adversarial", [0, 1])
def test_the_plain_training_takes_the_same_steps(config, adversarial):
    changes = ["train.precision=fp32", f"loss.adversarial={adversarial}"]
    settings = training.training_config(config, None, changes)
    accelerator = start_processes(settings.train)
    with float64():
        trainers = [VariantTrainer(settings, name, accelerator) for name in VARIANTS][:2]
        losses = []
        for one in trainers:
            one.batch = FramePairs(*(part.double() for part in one.batch))
            for _ in range(2):
                one.step()
            losses.append(one.train_step.report())
    assert losses[0] == pytest.approx(losses[1], rel=1e-8)


def in_this_process(function, *arguments):
    """Stand-in for ``peaks_of`` without the seconds that a new process takes to start."""
    return measured(1, *pickle.loads(pickle.dumps((function, arguments))))


@pytest.mark.usefixtures("fresh_accelerator")
def test_a_first_step_can_be_taken_in_another_process(config):
    settings = training.training_config(config, None, ["train.precision=bf16"])
    assert in_this_process(first_step, variant_of(settings, "plain"), "plain")[RESIDENT] > 50


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
    assert parts == ["whole pair", "open, decode, to RGB", "resize", "augment", "collate"]


def test_data_generates_clips_where_none_are_named(tmp_path, config, monkeypatch):
    monkeypatch.setattr(data, "PEOPLE", 2)
    monkeypatch.setattr(data, "CLIP_FRAMES", 3)
    monkeypatch.setattr(data, "usable_cores", lambda: 1)
    monkeypatch.chdir(tmp_path)
    result = result_of(tmp_path, "data", "--config", config, "--seconds", 0)
    assert result.settings["clips"] == 2


def test_memory_is_that_of_clips_and_of_batches(tmp_path, config, monkeypatch):
    monkeypatch.setitem(memory.BATCHES, "cpu", (2,))

    monkeypatch.setattr(memory, "peaks_of", in_this_process)
    options = ["--config", config, "--device", "cpu", "--length", 0.2, "--length", 0.4]
    result = result_of(tmp_path, "memory", *options)
    clips = rows_of(result, "Clips")
    tasks = [(row["task"], row["clip, s"]) for row in clips]
    assert tasks == [(task, s) for task in ("animation", "saved motion") for s in (0.2, 0.4)]
    assert numbers(clips, "times the first")[::2] == [1, 1]
    batches = rows_of(result, "One batch of frames")
    variants = [(row["network"], row["batch"]) for row in batches]
    assert variants == [("plain", 1)] + 2 * [("fused", 2)]
    assert all(peak > 50 for peak in numbers(clips + batches, "peak resident, MiB"))


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
