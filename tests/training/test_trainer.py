"""Training from end to end: the files of a run, and what must not change its weights."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from config import Config, load_config
from datasets.records import FACE_CROP
from faces.crop import FaceCropConfig
from modules.checkpoints import load_model, read_config
from tests.tiny import float64
from tests.tiny_run import SIZE, begin, write_clips, write_config
from tests.two_ranks_run import RUNS, SETTINGS
from training.run_checkpoints import STATE_FILE, checkpoint_folder, checkpoints, read_state
from training.train_step import TrainStep
from utils.errors import InputError


@pytest.fixture(scope="module")
def config_file(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("data")
    return write_config(folder / "tiny.yaml", write_clips(folder / "clips"))


@pytest.fixture(scope="module")
def config(config_file) -> Config:
    return load_config(config_file)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory) -> Path:
    """The folder of a run of six steps."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    begin(config, folder).run()
    return folder


def tensors(state: Any, path: str = "") -> dict[str, Tensor]:
    """Collect the tensors in a nested state by their paths."""
    if isinstance(state, Tensor):
        return {path: state}
    items = (
        state.items()
        if isinstance(state, dict)
        else enumerate(state)
        if isinstance(state, list | tuple)
        else ()
    )
    return {k: v for key, value in items for k, v in tensors(value, f"{path}/{key}").items()}


def assert_same_end(one: Path, other: Path) -> None:
    """Require that the last checkpoints of two runs agree to the bit."""
    expected, found = (tensors(read_state(checkpoints(run)[-1])) for run in (one, other))
    assert expected.keys() == found.keys()
    differing = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not differing


def test_a_run_leaves_checkpoints_metrics_and_pictures(finished, config):
    assert [folder.name for folder in checkpoints(finished)] == [
        "step-00000002", "step-00000004", "step-00000006",
    ]  # fmt: skip
    assert read_config(finished / "checkpoints" / "best")["name"] == "tiny"
    assert load_config(str(finished / "config.yaml")) == config
    assert (finished / "grids" / "step-00000006.png").is_file()
    assert list((finished / "tensorboard").iterdir())
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss/perceptual" in line] == [1, 2, 3, 4, 5, 6]
    assert sum("memory/perplexity_batch" in line for line in lines) == 6
    assert [line["step"] for line in lines if "validation/psnr" in line] == [3, 6]


def test_a_run_states_the_face_crop_of_its_data_and_goes_on_without_it(tmp_path):
    root, folder = write_clips(tmp_path / "clips"), tmp_path / "run"
    config = load_config(write_config(tmp_path / "tiny.yaml", root), ["train.max_steps=2"])
    face_crop = FaceCropConfig(aspect=1.2, face_x=0.5, face_y=0.4, face_width=0.6)
    (root / FACE_CROP).write_text(face_crop.model_dump_json())
    begin(config, folder).run()
    assert load_config(str(folder / "config.yaml")).data.face_crop == face_crop
    assert read_config(checkpoints(folder)[-1])["data"]["face_crop"] == face_crop.model_dump()
    (root / FACE_CROP).unlink()
    assert begin(config, folder, "last").train_step.step == 2


def test_the_exported_weights_are_the_moving_average(finished):
    folder = checkpoints(finished)[-1]
    state = read_state(folder)["train_step"]
    exported = load_model(folder).state_dict()
    assert all(torch.equal(exported[name], value) for name, value in state["ema"].items())
    assert any(not torch.equal(exported[name], value) for name, value in state["model"].items())


def test_a_killed_run_resumes_to_the_same_weights(config_file, config, finished, tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.tiny_run", config_file, str(folder)]
    process = subprocess.Popen([*command, "train.max_steps=1000"])
    while not checkpoints(folder):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    begin(config, folder, "last").run()
    assert_same_end(finished, folder)
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").open()]
    assert steps == sorted(steps)


def test_a_signal_saves_after_the_step_and_the_run_goes_on(config, finished, tmp_path):
    trainer = begin(config, tmp_path / "stopped")
    take_step = trainer.train_step.take_step

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if trainer.train_step.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return take_step(*args, **kwargs)

    trainer.train_step.take_step = interrupted
    outcome = trainer.run()
    assert outcome.signal == signal.SIGTERM
    assert outcome.checkpoint == checkpoints(trainer.folder)[-1]
    assert trainer.train_step.step < 6
    begin(config, trainer.folder, "last").run()
    assert_same_end(finished, trainer.folder)


def test_a_run_resumes_exactly_with_portraits_decoded_frames_and_warps(config_file, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    (tmp_path / "portraits").mkdir()
    for person in "ab":
        Image.fromarray(picture).save(tmp_path / "portraits" / f"{person}#0.png")
    settings = [
        f"data.stills.root={tmp_path}/portraits",
        "data.stills.share=0.5",
        f"data.frame_cache={tmp_path}/decoded",
        "data.augmentation.scale=0.1",
        "data.augmentation.warp=0.3",
        "loss.gradient=10",
        "loss.adversarial=1",
        "train.max_steps=4",
        "train.workers=1",
    ]
    folder = tmp_path / "whole"
    begin(load_config(config_file, settings), folder).run()
    shutil.copytree(folder, tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "checkpoints" / "step-00000004")
    shutil.rmtree(tmp_path / "decoded")  # is but a cache
    trainer = begin(load_config(config_file, settings), tmp_path / "resumed", "last")
    assert trainer.train_step.step == 2
    trainer.run()
    assert_same_end(folder, tmp_path / "resumed")
    settings = [each for each in settings if "stills.share" not in each] + ["train.workers=0"]
    begin(load_config(config_file, settings), tmp_path / "fewer").run()
    with pytest.raises(AssertionError):
        assert_same_end(folder, tmp_path / "fewer")


@pytest.fixture(scope="module")
def two_ranks(config_file, tmp_path_factory) -> Path:
    """The folder in which two processes trained together."""
    folder = tmp_path_factory.mktemp("two_ranks")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, *launcher, "-m", "tests.two_ranks_run", config_file, str(folder)]
    subprocess.run(command, check=True, timeout=600)
    return folder


@pytest.fixture(scope="module")
def one_rank(config_file, tmp_path_factory) -> Path:
    """A run of one process with the batch of both."""
    folder = tmp_path_factory.mktemp("one_rank")
    with float64():
        begin(load_config(config_file, [*SETTINGS, "train.batch_size=4"]), folder).run()
    return folder


@pytest.mark.parametrize("run", RUNS)
def test_two_processes_are_one_with_the_batch_of_both(one_rank, two_ranks, run):
    """Rounding is negligible in float64; with accumulation and a discriminator."""
    for step in (1, 2):
        expected, found = (
            tensors(read_state(checkpoint_folder(folder, step)))
            for folder in (one_rank, two_ranks / run)
        )
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_another_run_begins_from_the_weights_of_a_checkpoint(config, finished, tmp_path):
    source = checkpoints(finished)[-1]
    trainer = begin(config, tmp_path / "tuned", str(source))
    expected = load_model(source).state_dict()
    found = trainer.train_step.model.state_dict()
    assert trainer.train_step.step == 0
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_adversarial_training_goes_on_with_its_discriminator(config_file, tmp_path):
    config = load_config(config_file, ["loss.adversarial=1", "train.max_steps=2"])
    trainer = begin(config, tmp_path / "first")
    trainer.run()
    expected = trainer.train_step.discriminator.state_dict()
    for checkpoint in (checkpoints(tmp_path / "first")[-1], tmp_path / "first"):  # last, best
        found = begin(config, tmp_path / "tuned", str(checkpoint)).train_step.discriminator
        assert all(torch.equal(found.state_dict()[name], expected[name]) for name in expected)
    wide = load_config(config_file, ["loss.adversarial=1", "discriminator.width=8"])
    with pytest.raises(InputError, match=r"best/discriminator\.safetensors does not fit"):
        begin(wide, tmp_path / "wide", str(tmp_path / "first"))
    (tmp_path / "first/checkpoints/best/discriminator.safetensors").write_bytes(b"damaged")
    plain = load_config(config_file)
    assert begin(plain, tmp_path / "plain", str(tmp_path / "first")).train_step.step == 0


def test_resuming_with_another_batch_size_is_refused(config_file, finished):
    with pytest.raises(InputError, match="batch size"):
        begin(load_config(config_file, ["train.batch_size=3"]), finished, "last")


def test_the_one_setting_that_differs_is_named(config_file, finished):
    for setting, named in (
        ("model.num_kp=5", r"another model\.num_kp \(4, now 5\): resume"),
        ("model.memory=null", r"another model\.memory \(set, now None\): resume"),
        ("model.memory.size=5", r"another model\.memory\.size \(4, now 5\): resume"),
    ):
        with pytest.raises(InputError, match=named):
            begin(load_config(config_file, [setting]), finished, "last")


def test_a_run_that_is_resumed_with_other_data_says_so(config_file, finished, tmp_path, caplog):
    begin(load_config(config_file), finished, "last")
    assert "Resuming with other data" not in caplog.text
    root = write_clips(tmp_path / "clips")
    begin(load_config(config_file, [f"data.root={root}"]), finished, "last")
    assert caplog.messages[-1].startswith("Resuming with other data: data.root (")
    assert "clips" not in caplog.messages[-1].partition("), ")[2]
    caplog.clear()
    shutil.copy(next(root.glob("train/id1*")), root / "train" / "id9#a.mp4")
    begin(load_config(config_file, [f"data.root={root}", "data.repeats=5"]), finished, "last")
    message = next(each for each in caplog.messages if "other data" in each)
    assert "data.repeats (4, now 5)" in message
    assert "number of clips and stills (3, now 4)" in message


def test_a_run_is_not_resumed_past_its_end(config_file, finished):
    before = {path: path.read_bytes() for path in finished.glob("*.*")}
    with pytest.raises(InputError, match=r"step-00000006 is past the end.*which is step 3"):
        begin(load_config(config_file, ["train.max_steps=3"]), finished, "last")
    assert {path: path.read_bytes() for path in finished.glob("*.*")} == before


def spoil(train_step: TrainStep) -> RemovableHandle:
    """Make the perceptual loss not finite, until the handle is removed."""
    perceptual = train_step.wrapped["objective"].vgg
    return perceptual.register_forward_hook(
        lambda module, inputs, features: [x * torch.nan for x in features]
    )


def test_steps_that_are_not_finite_change_nothing_and_ten_in_a_row_stop(config, tmp_path, caplog):
    trainer = begin(config, tmp_path / "bad")
    train_step = trainer.train_step
    batches = trainer.batches()
    train_step.take_step([next(batches)], 1.0)
    before = {name: x.clone() for name, x in tensors(train_step.state()).items()}

    good = spoil(train_step)
    for _ in range(9):
        train_step.take_step([next(batches)], 1.0)
    train_step.check()
    found = train_step.report()
    assert all(math.isfinite(mean) for mean in found.values())  # of the first step alone
    assert caplog.text.count("loss/perceptual") == 9
    assert "Step 2 is skipped" in caplog.text
    train_step.take_step([next(batches)], 1.0)
    good.remove()
    train_step.take_step([next(batches)], 1.0)  # too late
    with pytest.raises(InputError, match=r"10 steps in a row.*loss/perceptual"):
        train_step.check()
    after = tensors(train_step.state())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert train_step.state()["skipped"] == 11


def test_nothing_is_saved_or_scored_when_the_training_is_stuck(config_file, tmp_path):
    settings = ["train.max_bad_steps=2", "train.log_every=100", "train.validate_every=2"]
    for due in ("train.save_every=100", "train.validate_every=100"):
        trainer = begin(load_config(config_file, [*settings, due]), tmp_path / due)
        spoil(trainer.train_step)
        with pytest.raises(InputError, match="2 steps in a row"):
            trainer.run()
        assert trainer.train_step.step == 2
        assert not list(trainer.folder.glob("checkpoints/*"))


def test_a_good_step_ends_a_row_of_bad_ones(config, tmp_path):
    trainer = begin(config, tmp_path / "row")
    train_step, batches = trainer.train_step, trainer.batches()
    for bad in (True, True, False, True):
        handle = spoil(train_step)
        if not bad:
            handle.remove()
        train_step.take_step([next(batches)], 1.0)
        handle.remove()
    assert train_step.state()["skipped"] == 3
    assert train_step.state()["bad_in_a_row"] == 1
    steps = {float(one["step"]) for one in train_step.optimizers["detector"].state.values()}
    assert steps == {1.0}


def test_a_step_asks_the_device_for_nothing(config, tmp_path):
    """A step reads no value of a tensor, for which it would wait on a GPU."""
    trainer = begin(config, tmp_path / "asking")
    train_step, batches = trainer.train_step, trainer.batches()
    train_step.take_step([next(batches)], 1.0)
    batch = next(batches)

    class Watch(TorchDispatchMode):
        asked: ClassVar[list[str]] = []

        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            if operation is torch.ops.aten._local_scalar_dense.default:
                self.asked.append(str(operation))
            return operation(*args, **(kwargs or {}))

    with Watch() as watch:
        train_step.take_step([batch], 1.0)
        assert not watch.asked
        train_step.check()
        assert watch.asked


def test_a_bad_batch_of_one_process_is_skipped_by_all(two_ranks):
    expected = {"unchanged": True, "skipped": 1, "finite": True, "any_rank": [True, False]}
    found = [json.loads((two_ranks / f"bad-{rank}.json").read_text()) for rank in range(2)]
    assert found == [expected, expected]


def test_scaled_losses_take_the_same_step_and_a_bad_one_lowers_the_scale(config, tmp_path):
    """Scaling is for fp16, which needs a GPU."""
    runs = [begin(config, tmp_path / name) for name in ("plain", "scaled")]
    runs[1].train_step.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for run in runs:
        run.train_step.take_step([next(run.batches())], 1.0)
    plain, scaled = (run.train_step.model.state_dict() for run in runs)
    for name, value in plain.items():
        torch.testing.assert_close(scaled[name], value, msg=name)

    train_step = runs[1].train_step
    train_step.scaler.scale = lambda loss: loss * torch.nan
    train_step.take_step([next(runs[1].batches())], 1.0)
    assert train_step.skipped == 1
    assert train_step.scaler.get_scale() == 512


def test_a_run_of_an_earlier_version_is_resumed(config_file, tmp_path):
    """Earlier versions had no landmarks, one form of attention, and other names."""
    adversarial = ["loss.adversarial=1"]
    begin(load_config(config_file, ["train.max_steps=2", *adversarial]), tmp_path / "run").run()
    file = checkpoints(tmp_path / "run")[-1] / STATE_FILE
    state = torch.load(file, weights_only=True)
    state["best_psnr"] = state.pop("best_selection_score") + 50
    state["course"] = state.pop("fixed_settings")
    del state["data"], state["course"]["model"]["landmark_detector"]
    for name in ("attention", "scale", "levels"):
        del state["course"]["model"]["memory"][name]
    step = state["optimisation"] = state.pop("train_step")
    step["average"], step["optimisers"] = step.pop("ema"), step.pop("optimizers")
    for part in ("weight", "bias"):
        step["discriminator"][f"realness.{part}"] = step["discriminator"].pop(f"logits.{part}")
    torch.save(state, file)
    settings = ["train.max_steps=3", *adversarial]
    trainer = begin(load_config(config_file, settings), tmp_path / "run", "last")
    assert trainer.train_step.step == 2
    assert trainer.best_score == state["best_psnr"]
    trainer.run()
    assert trainer.best_score == state["best_psnr"]
    settings = ["train.max_steps=4", "model.memory.attention=located", *adversarial]
    other = load_config(config_file, settings)
    with pytest.raises(InputError, match=r"another model\.memory\.attention \(dot, now located\)"):
        begin(other, tmp_path / "run", "last")


def test_learning_rates_fall_at_the_milestones(config_file, tmp_path):
    settings = ["train.milestones=[1,3]", "train.gamma=0.5", "train.batch_size=4"]
    trainer = begin(load_config(config_file, settings), tmp_path / "rates")
    assert trainer.batches_per_epoch == 3
    factors = []
    for step in range(12):
        trainer.train_step.step = step
        factors.append(trainer.rate_factor())
    assert factors == [1, 1, 1, *[0.5] * 6, *[0.25] * 3]


def test_an_unreadable_clip_is_named_once_and_many_stop_the_run(config, tmp_path, caplog):
    trainer = begin(config, tmp_path / "unreadable")
    trainer.clips = trainer.clips * 20
    trainer.count_unreadable({"broken"})
    trainer.count_unreadable({"broken"})
    assert caplog.text.count("broken") == 1
    with pytest.raises(InputError, match="4 of the 60 clips cannot be read"):
        trainer.count_unreadable({"a", "b", "c"})
    trainer.stills = trainer.clips[:20]
    trainer.count_unreadable(set())
    with pytest.raises(InputError, match="5 of the 80 clips and stills cannot be read"):
        trainer.count_unreadable({"d"})


def test_compilation_and_checkpointing_exclude_each_other(config_file):
    with pytest.raises(InputError, match="switch one of them off"):
        load_config(config_file, ["train.compile=true", "train.activation_checkpointing=true"])


@pytest.mark.parametrize(
    "other", ["train.compile=true", "train.activation_checkpointing=true", "train.precision=fp16"]
)
def test_a_recorded_step_is_a_plain_one(config_file, other):
    name = other.removeprefix("train.").removesuffix("=true")
    with pytest.raises(InputError, match=f"cuda_graph and {name} exclude each other"):
        load_config(config_file, ["train.cuda_graph=true", other])


def test_without_a_gpu_nothing_is_recorded(config_file, finished, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    caplog.set_level("INFO")
    begin(load_config(config_file, ["train.cuda_graph=true"]), tmp_path / "recorded").run()
    assert caplog.text.count("train.cuda_graph changes nothing here") == 1
    assert_same_end(finished, tmp_path / "recorded")


def test_activations_computed_again_take_the_same_step(config_file, tmp_path):
    runs = [
        begin(
            load_config(config_file, [f"train.activation_checkpointing={switch}"]),
            tmp_path / switch,
        )
        for switch in ("false", "true")
    ]
    for run in runs:
        run.train_step.take_step([next(run.batches())], 1.0)
    plain, again = (run.train_step.model.state_dict() for run in runs)
    for name, value in plain.items():
        torch.testing.assert_close(again[name], value, msg=name)


@pytest.mark.parametrize("setting", ["train.precision=bf16", "model.memory=null"])
def test_variants_train(config_file, tmp_path, setting):
    config = load_config(config_file, [setting, "train.max_steps=1"])
    assert begin(config, tmp_path / "variant").run().scores is not None


def test_fp16_without_a_gpu_is_refused(config_file, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match="needs a GPU"):
        begin(load_config(config_file, ["train.precision=fp16"]), tmp_path)


def test_every_parameter_of_the_model_is_optimised_once(config, tmp_path):
    train_step = begin(config, tmp_path / "parameters").train_step
    optimised = [id(p) for parameters in train_step.parameters.values() for p in parameters]
    assert sorted(optimised) == sorted(id(p) for p in train_step.model.parameters())
    assert isinstance(train_step.model, nn.Module)
