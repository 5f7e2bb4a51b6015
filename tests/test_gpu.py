"""Tests that need a GPU: the results of the CPU, in every precision."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState

from animate import Animator
from benchmarks import inference as benchmark_of_inference
from benchmarks.__main__ import main as benchmarks
from benchmarks.report import read
from config import load_config
from datasets.frame_pairs import unlabelled
from inference.device_transfer import BusyTime, Transfer
from inference.fused_network import fuse
from reconstruction import main as reconstruct
from tests.golden import GOLDEN, needs_golden, published_model
from tests.modules.test_golden import to_image
from tests.tiny import TINY, random_images, tiny_model
from tests.tiny_run import begin, write_checkpoint, write_clips, write_config
from training.train_step import WARM_UP
from training.trainer import Trainer

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
    trainer = begin(config, tmp_path / "run")
    before = [parameter.clone() for parameter in trainer.train_step.model.parameters()]
    outcome = trainer.run()
    assert outcome.scores is not None
    assert np.isfinite(outcome.scores["psnr"])
    assert trainer.train_step.skipped < 6
    after = trainer.train_step.model.parameters()
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
    noise = np.random.default_rng(0)
    source, *frames = noise.integers(0, 256, (5, 32, 48, 3), np.uint8)
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
@pytest.mark.parametrize("attention", ["dot", "located"])
def test_a_replayed_frame_is_the_computed_one(precision, attention):
    memory = TINY.memory.model_copy(update={"attention": attention})
    model = tiny_model(TINY.model_copy(update={"memory": memory}))
    network = fuse(model.cuda(), precision)
    sources, frames = random_images(batch=2, seed=1).cuda(), random_images(batch=6, seed=2).cuda()
    with torch.inference_mode():
        for source in sources.split(1):
            encoded = network.encode(source)
            for driving in map(network.detect, frames.split(2)):
                expected = network.compute(encoded, driving)
                torch.testing.assert_close(network.render(encoded, driving), expected)
    assert network.cuda_graph.failed is None
    assert network.cuda_graph.recordings


def test_the_benchmark_of_a_gpu_compares_every_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_of_inference, "CLIP_SECONDS", 1.0)
    config = write_config(tmp_path / "tiny.yaml", tmp_path)
    output = tmp_path / "result.json"
    options = ["--config", config, "--device", "cuda", "--seconds", "0", "--output", str(output)]
    assert benchmarks(["inference", *options]) == 0
    tables = {table.title: table.rows for table in read(output).tables}
    plain, *fused = tables["Frames"]
    assert [(row["precision"], row["batch"]) for row in fused] == [
        (precision, batch) for precision in ("fp32", "bf16", "fp16") for batch in (1, 4, 16)
    ]
    for row in fused:
        assert 0 < row["executed, GFLOP"] < plain["executed, GFLOP"]
        assert row["mean difference"] < 1.5


def test_the_benchmark_of_training_runs_on_a_gpu(tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    config = write_config(tmp_path / "tiny.yaml", tmp_path)
    output = tmp_path / "result.json"
    options = ["--config", config, "--set", "train.precision=bf16", "--seconds", "0"]
    assert benchmarks(["training", *options, "--output", str(output)]) == 0
    tables = {table.title: table.rows for table in read(output).tables}
    rows = tables["Training steps"]
    assert [row["precision"] for row in rows] == ["fp32", "bf16", "bf16"]
    assert all(row["peak on the GPU, MiB"] > 0 for row in rows)


def begin_tiny(folder: Path, *settings: str) -> Trainer:
    path = write_config(folder / "tiny.yaml", write_clips(folder / "clips"))
    return begin(load_config(path, list(settings)), folder / "run")


LOCATED = (
    *("model.memory.attention=located", "model.memory.levels=1", "loss.memory_usage=1"),
    *("loss.memory_consistency_target=driving", "loss.hidden_share=0.25"),
)


@pytest.mark.parametrize("memory", [(), LOCATED], ids=["published", "located"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_step_never_waits_for_the_gpu(tmp_path, precision, memory):
    settings = (f"train.precision={precision}", "loss.adversarial=1", *memory)
    trainer = begin_tiny(tmp_path, *settings)
    train_step, batches = trainer.train_step, trainer.batches()
    train_step.take_step([next(batches)], 1.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            train_step.take_step([next(batches)], 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    train_step.report()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_that_is_not_finite_changes_nothing_on_a_gpu(tmp_path, precision):
    trainer = begin_tiny(tmp_path, f"train.precision={precision}")
    train_step, batches = trainer.train_step, trainer.batches()
    train_step.take_step([next(batches)], 1.0)
    networks = torch.nn.ModuleList([train_step.model, train_step.ema])
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    pairs = next(batches)
    train_step.take_step([pairs._replace(driving=pairs.driving * torch.nan)], 1.0)
    assert train_step.state()["skipped"] == 1
    after = networks.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_activations_computed_again_take_the_same_step_in_less_memory(tmp_path):
    peaks, losses = [], []
    for switch in ("false", "true"):
        (tmp_path / switch).mkdir()
        trainer = begin_tiny(
            tmp_path / switch, f"train.activation_checkpointing={switch}", "train.precision=bf16"
        )
        size = (2, 3, 256, 256)
        pairs = unlabelled(*(torch.rand(size, device="cuda") for _ in range(2)))
        trainer.train_step.take_step([pairs], 1.0)
        torch.cuda.reset_peak_memory_stats()
        trainer.train_step.take_step([pairs], 1.0)
        peaks.append(torch.cuda.max_memory_allocated())
        losses.append(trainer.train_step.report())
        del trainer
    assert peaks[1] < 0.8 * peaks[0]
    assert losses[1].keys() == losses[0].keys()


def test_a_compiled_step_is_the_same(tmp_path):
    found = []
    for switch in ("false", "true"):
        (tmp_path / switch).mkdir()
        trainer = begin_tiny(tmp_path / switch, f"train.compile={switch}", "train.tf32=false")
        trainer.train_step.take_step([next(trainer.batches())], 1.0)
        found.append(trainer.train_step.report())
    assert found[1] == pytest.approx(found[0], rel=1e-2)


RECORDED = ("train.cuda_graph=true", "loss.adversarial=1", "train.tf32=false")
PLAIN = ("train.cuda_graph=false", *RECORDED[1:])


def begin_in(folder: Path, *settings: str) -> Trainer:
    folder.mkdir()
    return begin_tiny(folder, *settings)


def take(trainer: Trainer, steps: range, rate_factor: float = 1.0, size: int = 2) -> None:
    """Take steps whose pictures depend on their numbers alone."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        pictures = torch.rand(2, size, 3, 32, 32, generator=generator).cuda()
        trainer.train_step.take_step([unlabelled(*pictures)], rate_factor)


def weights(trainer: Trainer) -> torch.Tensor:
    """Join the weights of the networks in training and of the average in one vector."""
    train_step = trainer.train_step
    networks = (train_step.model, train_step.ema, train_step.discriminator)
    parameters = [one for network in networks for one in network.parameters()]
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def begin_recorded(folder: Path, *settings: str) -> Trainer:
    """Set up a run and take steps until one is replayed."""
    trainer = begin_in(folder, *RECORDED, *settings)
    take(trainer, range(WARM_UP + 1))
    assert trainer.train_step.cuda_graph.recordings
    return trainer


def assert_same_losses(found: dict[str, float], expected: dict[str, float]) -> None:
    """Compare losses of short runs, in which backward passes sum in no fixed order on a GPU."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith("loss/"):
            assert found[name] == pytest.approx(value, rel=5e-2, abs=5e-3), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_recorded_steps_are_the_plain_ones(tmp_path, precision, accumulate):
    ends, losses = [], []
    for name, settings in (("plain", PLAIN), ("recorded", RECORDED)):
        more = (f"train.precision={precision}", f"train.accumulate={accumulate}")
        trainer = begin_in(tmp_path / name, *settings, *more)
        begun = weights(trainer)
        for step in range(8):
            generator = torch.Generator().manual_seed(step)
            pictures = torch.rand(accumulate, 2, 2, 3, 32, 32, generator=generator).cuda()
            trainer.train_step.take_step([unlabelled(*pair) for pair in pictures], 1.0)
        losses.append(trainer.train_step.report())
        ends.append(weights(trainer))
        if name == "recorded":
            assert trainer.train_step.cuda_graph.recordings
        states = trainer.train_step.optimizers["detector"].state.values()
        assert {state["step"].item() for state in states} == {8}
    assert_same_losses(losses[1], losses[0])
    moved, apart = (ends[0] - begun).abs().mean(), (ends[1] - ends[0]).abs().mean()
    assert apart < 0.25 * moved  # Adam's first steps follow the sign of the smallest gradient


def test_learning_rates_of_a_recorded_step_can_change(tmp_path):
    trainer = begin_recorded(tmp_path / "run")
    model = trainer.train_step.model
    moves = []
    for step, rate_factor in enumerate((0.0, 1.0, 0.01, 0.0), start=WARM_UP + 1):
        before = torch.cat([one.detach().flatten() for one in model.parameters()])
        take(trainer, range(step, step + 1), rate_factor)
        after = torch.cat([one.detach().flatten() for one in model.parameters()])
        moves.append((after - before).abs().mean().item())
    assert moves[0] == moves[3] == 0
    assert moves[1] > 20 * moves[2] > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recorded_step_that_is_not_finite_changes_nothing(tmp_path, precision):
    trainer = begin_recorded(tmp_path / "run", f"train.precision={precision}")
    train_step = trainer.train_step
    networks = torch.nn.ModuleList([train_step.model, train_step.ema])
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    train_step.take_step([unlabelled(*torch.full((2, 2, 3, 32, 32), torch.nan).cuda())], 1.0)
    after = networks.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert train_step.state()["skipped"] == train_step.state()["bad_in_a_row"] == 1
    take(trainer, range(WARM_UP + 2, WARM_UP + 3))
    assert train_step.state()["skipped"] == 1
    assert train_step.state()["bad_in_a_row"] == 0
    assert not all(torch.equal(after[name], value) for name, value in before.items())
    train_step.report()


def test_replaying_a_step_never_waits_for_the_gpu(tmp_path):
    trainer = begin_recorded(tmp_path / "run", "train.precision=bf16")
    batches = trainer.batches()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(2):
            trainer.train_step.take_step([next(batches)], 1.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.train_step.report()


@pytest.mark.parametrize(
    ("first", "then"), [(RECORDED, RECORDED), (RECORDED, PLAIN), (PLAIN, RECORDED)]
)
def test_a_run_resumes_recorded_or_not(tmp_path, first, then):
    begun = begin_in(tmp_path / "begun", *first)
    take(begun, range(6))
    begun.train_step.report()
    file = io.BytesIO()
    torch.save(begun.train_step.state(), file)
    file.seek(0)
    take(begun, range(6, 12))

    resumed = begin_in(tmp_path / "resumed", *then)
    take(resumed, range(5))  # a recording of its own, which must not outlive its Adam
    resumed.train_step.report()
    resumed.train_step.load_state(torch.load(file, map_location="cpu", weights_only=True))
    before = weights(resumed)
    take(resumed, range(6, 12))
    assert resumed.train_step.state()["step"] == 12
    assert_same_losses(resumed.train_step.report(), begun.train_step.report())
    apart, moved = weights(resumed) - weights(begun), weights(begun) - before
    assert apart.abs().mean() < 0.25 * moved.abs().mean()


def test_a_recorded_run_takes_batches_of_another_size(tmp_path):
    trainer = begin_recorded(tmp_path / "run")
    for size in (3, 2):
        before = weights(trainer)
        take(trainer, range(20, 21), size=size)
        assert not torch.equal(before, weights(trainer))
    assert len(trainer.train_step.report()) > 5


def test_a_recorded_run_ends_with_scores(tmp_path):
    trainer = begin_tiny(tmp_path, *RECORDED, "train.workers=1", "train.max_steps=10")
    assert np.isfinite(trainer.run().scores["psnr"])
    assert trainer.train_step.cuda_graph.recordings
    assert trainer.train_step.skipped == 0


def test_a_step_that_cannot_be_recorded_is_taken_nevertheless(tmp_path, caplog):
    trainer = begin_in(tmp_path / "run", *RECORDED)
    vgg = trainer.train_step.wrapped["objective"].vgg
    vgg.register_forward_hook(lambda module, inputs, features: features[0].sum().item() and None)
    take(trainer, range(6))
    assert caplog.text.count("CUDA graphs are not used") == 1
    assert not trainer.train_step.cuda_graph.recordings
    assert trainer.train_step.state()["skipped"] == 0
    assert all(np.isfinite(mean) for mean in trainer.train_step.report().values())
