"""What only a GPU shows: the results of the CPU, in every precision."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from animate import Animator
from benchmarks import end_to_end, hardware
from benchmarks.__main__ import main as benchmarks
from benchmarks.report import read
from config import load_config
from modules.fast import fast_form
from modules.transfer import BusyTime, Transfer
from reconstruction import main as reconstruct
from tests.golden import GOLDEN, needs_golden, published_model
from tests.modules.test_golden import to_image
from tests.tiny import random_images, tiny_model
from tests.tiny_run import begin, write_checkpoint, write_clips, write_config
from train import Training

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@needs_golden
def test_float32_gives_the_reference_prediction(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    arrays = np.load(GOLDEN / "seed0.npz")
    source, driving = (to_image(arrays[name]).cuda() for name in ("source", "driving"))
    with torch.no_grad():
        prediction = published_model().eval().cuda()(source, driving).prediction.cpu()
    reference = torch.from_numpy(arrays["prediction"])
    torch.testing.assert_close(prediction, reference, atol=1e-3, rtol=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_is_finite_in_every_precision(tmp_path, precision):
    path = write_config(tmp_path / "tiny.yaml", write_clips(tmp_path / "clips"))
    config = load_config(path, [f"train.precision={precision}", "loss.adversarial=1"])
    training = begin(config, tmp_path / "run")
    before = [parameter.clone() for parameter in training.optimisation.model.parameters()]
    outcome = training.run()
    assert outcome.scores is not None
    assert np.isfinite(outcome.scores.psnr)
    assert training.optimisation.skipped < 6
    after = training.optimisation.model.parameters()
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_an_evaluation_comes_to_the_numbers_of_the_cpu(tmp_path):
    root = write_clips(tmp_path / "clips")
    checkpoint = write_checkpoint(tmp_path / "tiny", root)
    means = {}
    for device in ("cpu", "cuda"):
        options = ["--checkpoint", checkpoint, "--metrics", "l1,ssim", "--device", device]
        assert reconstruct([*map(str, options), "--output", str(tmp_path / device)]) == 0
        metrics = json.loads((tmp_path / device / "result.json").read_text())["metrics"]
        means[device] = [metrics[name]["mean"] for name in ("l1", "ssim")]
    assert means["cuda"] == pytest.approx(means["cpu"], rel=1e-3)


@pytest.mark.parametrize(("precision", "levels"), [("fp32", 0.1), ("bf16", 1.5), ("fp16", 1.5)])
def test_an_animation_is_that_of_the_cpu(precision, levels):
    draws = np.random.default_rng(0)
    source, *frames = draws.integers(0, 256, (5, 32, 48, 3), np.uint8)
    animations = [
        list(Animator(tiny_model(), (32, 48), device=device, precision=one).animate(source, frames))
        for device, one in (("cpu", "fp32"), ("cuda", precision))
    ]
    expected, found = (np.stack(frames).astype(float) for frames in animations)
    assert np.abs(found - expected).mean() < levels


@pytest.mark.parametrize("batch_size", [1, 4, None])
def test_overlapping_batches_come_whole_and_in_order(batch_size):
    source, *frames = np.random.default_rng(0).integers(0, 256, (40, 32, 48, 3), np.uint8)
    animator = Animator(tiny_model(), (32, 48), device="cuda", precision="bf16")
    found = list(animator.animate(source, frames, motion="absolute", batch_size=batch_size))
    encoded = animator.encode(source)
    for frame, result in zip(frames, found, strict=True):
        (alone,) = animator.render(encoded, animator.detect([frame]))
        torch.cuda.synchronize()
        assert np.abs(alone.astype(float) - result).mean() < 1


def test_frames_that_overflow_are_those_of_float32():
    model = tiny_model()
    model.generator.decoder.final.weight.data *= 1e8
    source, *frames = np.random.default_rng(0).integers(0, 256, (6, 32, 48, 3), np.uint8)
    found, expected = (
        np.stack(list(Animator(model, (32, 48), device=device, precision=one).animate(*pictures)))
        for device, one, pictures in (
            ("cuda", "fp16", (source, frames)),
            ("cpu", "fp32", (source, frames)),
        )
    )
    assert np.abs(found.astype(float) - expected).mean() < 1


def test_an_automatic_precision_is_decided():
    source, *frames = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3), np.uint8)
    animator = Animator(tiny_model(), (32, 48), device="cuda")
    assert len(list(animator.animate(source, frames))) == 2
    native = torch.cuda.get_device_capability() >= (8, 0)
    assert animator.precision == (torch.bfloat16 if native else torch.float32)


def test_the_busy_time_is_that_of_the_device():
    device = torch.device("cuda")
    busy, factor = BusyTime(device), torch.rand(2048, 2048, device=device)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(5):
        with busy.counted():
            for _ in range(20):
                factor @ factor
    assert 0 < busy.seconds < time.perf_counter() - began
    assert not busy.queued


def test_arrays_come_back_as_they_went():
    transfer = Transfer(torch.device("cuda"))
    arrays = np.random.default_rng(0).integers(0, 256, (20, 4, 64, 64, 3), np.uint8)
    coming = [transfer.download(transfer.upload(array) ^ 255) for array in arrays]
    for array, download in zip(arrays, coming, strict=True):
        np.testing.assert_array_equal(download.wait()[0], array ^ 255)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_replayed_frame_is_the_computed_one(precision):
    network = fast_form(tiny_model().cuda(), precision)
    sources, frames = random_images(batch=2, seed=1).cuda(), random_images(batch=6, seed=2).cuda()
    with torch.inference_mode():
        for source in sources.split(1):
            encoded = network.encode(source)
            for driving in map(network.detect, frames.split(2)):
                expected = network.compute(encoded, driving)
                torch.testing.assert_close(network.render(encoded, driving), expected)
    assert network.replay.works
    assert any(recording is not None for recording in network.replay.recordings.values())


def test_the_benchmark_of_a_gpu_compares_every_precision(tmp_path, monkeypatch):
    monkeypatch.setitem(hardware.LARGE, "cuda", (2, 64, 32, 512))
    monkeypatch.setattr(end_to_end, "SECONDS", 1.0)
    config = write_config(tmp_path / "tiny.yaml", tmp_path)
    output = tmp_path / "result.json"
    options = ["--config", config, "--device", "cuda", "--seconds", "0", "--output", str(output)]
    assert benchmarks(["inference", *options]) == 0
    tables = {table.title: table.rows for table in read(output).tables}
    assert [row["arithmetic"] for row in tables["Measured peak"]] == [
        "tf32",
        "fp32",
        "bf16",
        "fp16",
    ]
    plain, *fast = tables["Frames"]
    assert [(row["precision"], row["batch"]) for row in fast] == [
        (precision, batch) for precision in ("fp32", "bf16", "fp16") for batch in (1, 4, 16)
    ]
    for row in fast:
        assert 0 < row["executed, GFLOP"] < plain["executed, GFLOP"]
        assert row["mean difference"] < 1.5


def test_the_benchmark_of_training_runs_on_a_gpu(tmp_path, monkeypatch):
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setitem(hardware.LARGE, "cuda", (2, 64, 32, 512))
    config = write_config(tmp_path / "tiny.yaml", tmp_path)
    output = tmp_path / "result.json"
    options = ["--config", config, "--set", "train.precision=bf16", "--seconds", "0"]
    assert benchmarks(["training", *options, "--output", str(output)]) == 0
    tables = {table.title: table.rows for table in read(output).tables}
    assert [row["arithmetic"] for row in tables["Training steps"]] == ["tf32", "bf16"]
    assert all(row["peak on the GPU, MiB"] > 0 for row in tables["Memory of a training step"])


def begin_tiny(folder: Path, *settings: str) -> Training:
    path = write_config(folder / "tiny.yaml", write_clips(folder / "clips"))
    return begin(load_config(path, list(settings)), folder / "run")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_step_never_waits_for_the_gpu(tmp_path, precision):
    training = begin_tiny(tmp_path, f"train.precision={precision}", "loss.adversarial=1")
    optimisation, batches = training.optimisation, training.batches()
    optimisation.take_step([next(batches)], 1.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            optimisation.take_step([next(batches)], 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    optimisation.report()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_that_is_not_finite_changes_nothing_on_a_gpu(tmp_path, precision):
    training = begin_tiny(tmp_path, f"train.precision={precision}")
    optimisation, batches = training.optimisation, training.batches()
    optimisation.take_step([next(batches)], 1.0)
    networks = torch.nn.ModuleList([optimisation.model, optimisation.average])
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    source, driving = next(batches)
    optimisation.take_step([(source, driving * torch.nan)], 1.0)
    assert optimisation.state()["skipped"] == 1
    after = networks.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_activations_computed_again_take_the_same_step_in_less_memory(tmp_path):
    peaks, losses = [], []
    for switch in ("false", "true"):
        (tmp_path / switch).mkdir()
        training = begin_tiny(
            tmp_path / switch, f"train.checkpointing={switch}", "train.precision=bf16"
        )
        size = (2, 3, 256, 256)
        source, driving = (torch.rand(size, device="cuda") for _ in range(2))
        training.optimisation.take_step([(source, driving)], 1.0)
        torch.cuda.reset_peak_memory_stats()
        training.optimisation.take_step([(source, driving)], 1.0)
        peaks.append(torch.cuda.max_memory_allocated())
        losses.append(training.optimisation.report())
        del training
    assert peaks[1] < 0.8 * peaks[0]
    assert losses[1].keys() == losses[0].keys()


def test_a_compiled_step_is_the_same(tmp_path):
    found = []
    for switch in ("false", "true"):
        (tmp_path / switch).mkdir()
        training = begin_tiny(tmp_path / switch, f"train.compile={switch}", "train.tf32=false")
        training.optimisation.take_step([next(training.batches())], 1.0)
        found.append(training.optimisation.report())
    assert found[1] == pytest.approx(found[0], rel=1e-2)
