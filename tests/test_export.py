"""Export to one small file, and all commands that read it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file

import animate
import export
import reconstruction
from config import checkpoint_config, load_config, to_settings
from export import halved, without_local_paths
from modules.checkpoints import WEIGHTS, load_model, read_config, save_weights
from modules.mcnet import MCNet
from run import main
from tests.golden import needs_golden, published
from tests.tiny import random_images, randomise_norms
from tests.tiny_run import SIZE, write_clips, write_config


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("secret-place") / "clips")


@pytest.fixture(scope="module")
def checkpoint(root, tmp_path_factory) -> Path:
    """The folder of a run, with the best of its weights."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    best = run / "checkpoints" / "best"
    best.mkdir(parents=True)
    overrides = [f"data.cache={root}/cache", f"loss.vgg={root}/vgg.pth"]
    config = load_config(write_config(run / "tiny.yaml", root), overrides)
    torch.manual_seed(0)
    model = randomise_norms(MCNet(config.model))
    save_weights(best / WEIGHTS, model, to_settings(config))
    return run


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("exported") / "new" / "mcnet-tiny.safetensors"
    arguments = ["--mode", "export", "--checkpoint", checkpoint, "--output", output]
    assert main(list(map(str, arguments))) == 0
    return output


def test_an_exported_network_makes_nearly_the_same_pictures(checkpoint, exported):
    before, after = load_model(checkpoint), load_model(exported)
    assert {tensor.dtype for tensor in after.parameters()} == {torch.float32}
    source, driving = random_images(), random_images(seed=1)
    with torch.no_grad():
        expected = before(source, driving).prediction
        found = after(source, driving).prediction
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=4e-3, rtol=0)


def test_kernels_are_half_as_large_and_vectors_stay(checkpoint, exported):
    state = load_file(exported)
    assert {t.dtype for t in state.values() if t.dim() > 1} == {torch.float16}
    assert {t.dtype for t in state.values() if t.dim() == 1} == {torch.float32}
    counts = [t.dtype for name, t in state.items() if name.endswith("num_batches_tracked")]
    assert set(counts) == {torch.int64}
    before = checkpoint / "checkpoints" / "best" / WEIGHTS
    assert exported.stat().st_size < 0.75 * before.stat().st_size
    assert list(exported.parent.iterdir()) == [exported]
    (exported.parent.parent / "any").touch()
    assert exported.stat().st_mode == (exported.parent.parent / "any").stat().st_mode


def test_full_precision_changes_nothing(checkpoint, tmp_path):
    output = tmp_path / "full.safetensors"
    arguments = ["--checkpoint", checkpoint, "--output", output, "--precision", "fp32"]
    assert main(["--mode", "export", *map(str, arguments)]) == 0
    before = load_file(checkpoint / "checkpoints" / "best" / WEIGHTS)
    after = load_file(output)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([[0.5, -3.0], [1e-5, 7.0]], torch.float16),  # a small value among large ones
        ([[7e4, 1.0], [1.0, 1.0]], torch.float32),  # beyond float16
        ([[1e-7, 3e-7], [2e-8, 1e-6]], torch.float32),  # below it
        ([[0.0, 0.0], [0.0, 0.0]], torch.float16),
        ([1e-7, 1.0], torch.float32),  # variances of a batch norm
    ],
)
def test_what_float16_cannot_hold_stays_float32(values, dtype):
    assert halved({"x": torch.tensor(values)})["x"].dtype == dtype


def test_the_file_says_nothing_about_a_machine(checkpoint, exported, root):
    assert "secret-place" in json.dumps(read_config(checkpoint))
    assert b"secret-place" not in exported.read_bytes()
    before, after = read_config(checkpoint), read_config(exported)
    assert (after["data"]["root"], after["loss"]["vgg"]) == ("data", "pretrained")
    before["data"] |= {"root": "data", "cache": "data/cache"}
    before["loss"]["vgg"] = "pretrained"
    assert after == before


def test_addresses_are_places_too():
    overrides = ["data.source=stream", "data.root=s3://bucket/vox", "loss.vgg=random"]
    config = without_local_paths(load_config("vox.yaml", overrides))
    assert "bucket" not in str(config)
    assert config.loss.vgg == "random"
    overrides = ["data.frame_cache=/scratch/frames", "data.stills.root=/scratch/portraits"]
    config = without_local_paths(load_config("lite.yaml", overrides))
    assert "scratch" not in str(config)
    assert config.data.stills is not None


def test_a_picture_is_animated_by_an_exported_network(exported, root, tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)).save(tmp_path / "source.png")
    driving = sorted(root.glob("test/*.mp4"))[0]
    arguments = ["--checkpoint", exported, "--source", tmp_path / "source.png"]
    arguments += ["--driving", driving, "--output", f"{tmp_path}/out/", "--device", "cpu"]
    assert animate.main(list(map(str, arguments))) == 0
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_an_exported_network_is_measured(exported, root, tmp_path):
    arguments = ["--checkpoint", exported, "--root", root, "--metrics", "psnr", "--device", "cpu"]
    assert reconstruction.main(list(map(str, [*arguments, "--output", tmp_path / "out"]))) == 0


def test_a_training_begins_from_an_exported_network(exported, root, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    arguments = ["--config", write_config(tmp_path / "tiny.yaml", root), "--checkpoint", exported]
    arguments += ["--set", "train.max_steps=1", "--output", tmp_path / "run"]
    assert main(list(map(str, arguments))) == 0


@needs_golden
def test_a_published_checkpoint_is_exported_with_a_configuration(tmp_path):
    torch.save(published(), tmp_path / "vox.pth.tar")
    arguments = ["--checkpoint", str(tmp_path / "vox.pth.tar"), "--config", "vox.yaml"]
    assert export.main([*arguments, "--output", str(tmp_path / "vox.safetensors")]) == 0
    assert read_config(tmp_path / "vox.safetensors")["name"] == "vox"
    expected = load_model(tmp_path / "vox.pth.tar").state_dict()
    for name, found in load_model(tmp_path / "vox.safetensors").state_dict().items():
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_setting_can_be_changed(checkpoint, tmp_path, capsys):
    arguments = ["--checkpoint", str(checkpoint), "--output", str(tmp_path / "a.safetensors")]
    gain = "model.expression_gain.mouth"
    assert export.main([*arguments, "--set", f"{gain}=1.25", "--set", "name=louder"]) == 0
    config = checkpoint_config(tmp_path / "a.safetensors")
    assert (config.model.expression_gain.mouth, config.name) == (1.25, "louder")
    before = checkpoint_config(checkpoint).model
    assert config.model == before.model_copy(
        update={"expression_gain": config.model.expression_gain}
    )
    for change, says in (
        (f"{gain}=3", f"--set {gain}=3: {gain}: Input should be less than or equal to 2"),
        ("model.num_kp=7", "set model.num_kp"),
        ("mouth", "is not NAME=VALUE"),
    ):
        assert export.main([*arguments, "--set", change]) == 2
        assert says in " ".join(capsys.readouterr().err.split())


def test_a_mistake_is_one_sentence(checkpoint, tmp_path, capsys):
    def message(checkpoint: Path, output: Path, config: str | None = None) -> str:
        arguments = ["--checkpoint", str(checkpoint), "--output", str(output)]
        arguments += ["--config", config] if config else []
        assert main(["--mode", "export", *arguments]) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "FILE.safetensors" in message(checkpoint, tmp_path / "weights.pth")
    assert "There is no checkpoint" in message(tmp_path / "missing", tmp_path / "a.safetensors")
    best = checkpoint / "checkpoints" / "best" / WEIGHTS
    before = best.read_bytes()
    assert "is the same as" in message(checkpoint, best)
    assert best.read_bytes() == before
    assert "leave --config out" in message(checkpoint, tmp_path / "a.safetensors", "lite.yaml")
    (tmp_path / "folder.safetensors").mkdir()
    assert "is a folder: name a file" in message(checkpoint, tmp_path / "folder.safetensors")
    (tmp_path / "old.pth.tar").write_bytes(b"x")
    assert "--config" in message(tmp_path / "old.pth.tar", tmp_path / "a.safetensors")
    model = load_model(checkpoint)
    model.generator.decoder.final.bias.data[0] = torch.nan
    save_weights(tmp_path / WEIGHTS, model, read_config(checkpoint))
    found = message(tmp_path, tmp_path / "a.safetensors")
    assert "not finite, in generator.decoder.final.bias" in found
    assert not (tmp_path / "a.safetensors").exists()
