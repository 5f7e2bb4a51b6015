import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modules.checkpoints import (
    WEIGHTS,
    fill_missing_tensors,
    load_model,
    load_strictly,
    read_config,
    read_discriminator,
    read_weights,
    save_weights,
    weights_file,
    write_tensors,
)
from modules.mcnet import ModelConfig
from modules.published_weights import DETECTOR_RULES, GENERATOR_RULES, translate
from tests.golden import needs_golden, published, published_model
from tests.tiny import TINY, TINY_LANDMARKS, random_images, tiny_model
from utils.errors import InputError

RUN = {"name": "tiny", "model": TINY.model_dump(mode="json")}


def test_our_checkpoint_rebuilds_its_network_alone(tmp_path):
    model = tiny_model().eval()
    save_weights(tmp_path / "weights.safetensors", model, RUN)
    best = tmp_path / "run" / "checkpoints" / "best"
    best.mkdir(parents=True)
    save_weights(best / "weights.safetensors", model, RUN)
    for path in (tmp_path, tmp_path / "weights.safetensors", tmp_path / "run"):
        loaded = load_model(path)
        assert loaded.config == TINY
        assert not loaded.training
        source, driving = random_images(), random_images(seed=1)
        with torch.no_grad():
            assert torch.equal(
                loaded(source, driving).prediction, model(source, driving).prediction
            )
    assert read_config(tmp_path) == RUN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "weights.safetensors"]


def test_a_checkpoint_that_does_not_fit_the_config_is_refused_both_ways(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, tiny_model(), RUN)
    without = TINY.model_copy(update={"memory": None})
    with pytest.raises(InputError, match="is unknown"):
        load_model(path, without)
    save_weights(path, tiny_model(without), RUN)
    with pytest.raises(InputError, match="is missing"):
        load_model(path, TINY)
    wide = TINY.model_copy(
        update={"generator": TINY.generator.model_copy(update={"width": 16, "max_width": 32})}
    )
    save_weights(path, tiny_model(), RUN)
    with pytest.raises(InputError, match="has shape"):
        load_model(path, wide)


def test_a_network_without_landmarks_grows_into_one_with_them():
    small, large = tiny_model(), tiny_model(TINY_LANDMARKS, seed=1)
    state = fill_missing_tensors(small.state_dict(), large)
    load_strictly(large, state, "grown")
    for name, value in small.state_dict().items():
        corner = tuple(map(slice, value.shape))
        assert torch.equal(large.state_dict()[name][corner], value), name
    assert fill_missing_tensors(large.state_dict(), large).keys() == large.state_dict().keys()


@pytest.mark.parametrize("changes", [{"attention": "located"}, {"levels": 1}])
def test_a_memory_of_another_form_begins_afresh(changes):
    memory = TINY.memory.model_copy(update=changes)
    old, new = tiny_model(), tiny_model(TINY.model_copy(update={"memory": memory}), seed=1)
    state = fill_missing_tensors(old.state_dict(), new)
    assert state.keys() == new.state_dict().keys()
    for name, tensor in state.items():
        origin = new if name.startswith("generator.memory.") else old
        assert torch.equal(tensor, origin.state_dict()[name]), name


def test_nothing_else_grows():
    small, wide = tiny_model(), tiny_model(TINY.model_copy(update={"num_kp": 5}))
    state = fill_missing_tensors(small.state_dict(), wide)
    assert state["detector.heatmaps.bias"].shape == (4,)
    with pytest.raises(InputError, match="does not fit"):
        load_strictly(wide, state, "grown")


def test_a_keypoint_mismatch_names_both_numbers(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, tiny_model(), RUN)
    with pytest.raises(InputError, match=r"has 4 keypoints and the config 9.*model\.num_kp=4"):
        load_model(path, TINY.model_copy(update={"num_kp": 9}))


@needs_golden
def test_a_published_checkpoint_loads(tmp_path):
    torch.save({**published(), "epoch": 99}, tmp_path / "published.pth.tar")
    loaded = load_model(tmp_path / "published.pth.tar").state_dict()
    for name, tensor in published_model().state_dict().items():
        assert torch.equal(loaded[name], tensor), name
    assert read_weights(tmp_path / "published.pth.tar").config is None
    found = read_discriminator(tmp_path / "published.pth.tar")
    assert found.path == tmp_path / "published.pth.tar"
    assert found.state.keys() >= {"convs.0.weight", "norms.3.bias", "logits.bias"}


@needs_golden
@pytest.mark.parametrize(
    ("outer", "inner"), [("", ""), ("", "module."), ("_orig_mod.module.", "module.")]
)
def test_published_names_are_known_with_and_without_prefixes(outer, inner):
    def renamed(name: str) -> str:
        part, rest = name.removeprefix("module.").split(".", 1)
        return f"{outer}{part}.{inner}{rest}"

    rules = {"generator": GENERATOR_RULES, "kp_detector": DETECTOR_RULES}
    for network, state in published().items():
        if network in rules:
            other = {renamed(name): tensor for name, tensor in state.items()}
            assert translate(other, rules[network]) == translate(state, rules[network])


@needs_golden
def test_the_keypoint_count_of_a_published_checkpoint_is_read_from_it(tmp_path):
    """Fewer keypoints make smaller tensors: here the layout is that of a network with 10."""
    model = load_published_with(tmp_path, num_kp=10)
    assert model.config == ModelConfig(num_kp=10)
    with pytest.raises(InputError, match="has 10 keypoints and the config 15"):
        load_model(tmp_path / "published.pth.tar", ModelConfig())


def load_published_with(tmp_path, num_kp):
    kp, motions = num_kp, num_kp + 1
    shapes = {
        "generator.dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight": (
            *(128, 4 * motions, 3, 3),
        ),
        "generator.dense_motion_network.mask.weight": (motions, 64 + 4 * motions, 7, 7),
        "generator.dense_motion_network.mask.bias": (motions,),
        "generator.dense_motion_network.occlusion.weight": (1, 64 + 4 * motions, 7, 7),
        "generator.mbUnit.style_route.0.weight": (128, 512 + 2 * kp),
        "kp_detector.kp.weight": (kp, 35, 7, 7),
        "kp_detector.kp.bias": (kp,),
        "kp_detector.jacobian.weight": (4 * kp, 35, 7, 7),
        "kp_detector.jacobian.bias": (4 * kp,),
    }
    networks = {name: dict(published()[name]) for name in ("generator", "kp_detector")}
    for name, shape in shapes.items():
        network, key = name.split(".", 1)
        networks[network][f"module.{key}"] = torch.zeros(shape)
    torch.save(networks, tmp_path / "published.pth.tar")
    return load_model(tmp_path / "published.pth.tar")


def test_prefixes_are_taken_off_anywhere_but_within_a_name():
    tensor = torch.zeros(1)
    for name in (
        "predictor.encoder.down_blocks.0.conv.weight",
        "module.predictor.module.encoder.down_blocks.0.module.conv.weight",
        "_orig_mod.module.predictor.encoder.down_blocks.0.conv.weight",
    ):
        assert translate({name: tensor}, DETECTOR_RULES) == {
            "detector.hourglass.down.0.conv.weight": tensor
        }
    assert list(translate({"submodule.weight": tensor}, DETECTOR_RULES)) == ["submodule.weight"]


@pytest.mark.parametrize("package", ["numpy.core", "numpy._core"])  # of NumPy 1 and 2
def test_numbers_of_numpy_beside_the_weights_are_harmless(tmp_path, package):
    scalars = [
        *(np.float64(0.25), np.float32(1.5), np.float16(2), np.bool_(True)),
        *(np.int64(99), np.int32(-1), np.uint8(200)),
    ]
    bias = torch.arange(3.0)
    state = {"generator": {"final.bias": bias}, "kp_detector": {}, "history": scalars}
    torch.save({**state, "loss": np.float64(0.5), "epoch": np.int64(3)}, tmp_path / "written.pth")
    path = tmp_path / "published.pth.tar"
    with zipfile.ZipFile(tmp_path / "written.pth") as read, zipfile.ZipFile(path, "w") as written:
        for name in read.namelist():
            data = read.read(name)
            if name.endswith("data.pkl"):
                data, found = re.subn(rb"numpy\._?core(?=\.multiarray)", package.encode(), data)
                assert found
            written.writestr(name, data)
    allowed = set(torch.serialization.get_safe_globals())
    assert torch.equal(read_weights(path).model["generator.decoder.final.bias"], bias)
    assert set(torch.serialization.get_safe_globals()) == allowed  # for this file alone


def test_objects_of_numpy_beside_the_weights_are_refused(tmp_path):
    path = tmp_path / "odd.pth.tar"
    for odd in (np.array([Malicious()]), np.array([1, 2], object), np.zeros(2, "i4,O")[0]):
        torch.save({"generator": {}, "kp_detector": {}, "odd": odd}, path)
        with pytest.raises(InputError, match="not a file of PyTorch weights"):
            read_weights(path)


class Malicious:
    def __reduce__(self):
        return (open, ("should-not-be-here", "w"))


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"generator": Malicious()}, protocol=2))
    torch.save({"generator": Malicious(), "kp_detector": {}}, tmp_path / "evil.pth.tar")
    for name in ("evil.pth", "evil.pth.tar"):
        with pytest.raises(InputError, match="not a file of PyTorch weights"):
            load_model(name)
    assert not (tmp_path / "should-not-be-here").exists()


def test_a_run_is_its_best_weights_or_its_newest(tmp_path):
    folders = [
        tmp_path / "checkpoints" / name for name in ("step-00000900", "step-00001000", "best")
    ]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / WEIGHTS).touch()
        assert weights_file(tmp_path) == folder / WEIGHTS


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "There is no checkpoint"),
        (b"", "not a file of PyTorch weights"),
        (b"some text", "not a file of PyTorch weights"),
        ({"state_dict": {}}, "has no generator and kp_detector"),
        ([1, 2], "has no generator and kp_detector"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "file.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=sentence):
        load_model(path)


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, tiny_model(), RUN)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_model(path)


@pytest.mark.parametrize("config", [{"name": "old"}, {"model": {"num_keypoints": 4}}])
def test_a_configuration_of_another_version_is_refused(tmp_path, config):
    save_weights(tmp_path / "weights.safetensors", tiny_model(), config)
    with pytest.raises(InputError, match="does not describe a network of this version"):
        load_model(tmp_path)


@pytest.mark.parametrize("config", ["no JSON", "[1, 2]"])
def test_a_configuration_that_is_none_is_damage(tmp_path, config):
    save_file(tiny_model().state_dict(), tmp_path / "a.safetensors", metadata={"config": config})
    for read in (read_config, load_model):
        with pytest.raises(InputError, match=r"a\.safetensors carries a damaged configuration"):
            read(tmp_path / "a.safetensors")


def test_the_discriminator_beside_a_file_is_read_when_it_is_asked_for(tmp_path):
    path = tmp_path / "any-name.safetensors"
    save_weights(path, tiny_model(), RUN)
    assert read_discriminator(path) is None
    beside = tmp_path / "discriminator.safetensors"
    beside.write_bytes(b"damaged")
    assert load_model(path).config == TINY
    with pytest.raises(InputError, match=r"discriminator\.safetensors is not a readable"):
        read_discriminator(path)
    write_tensors(beside, {"logits.bias": torch.ones(1)})
    state, found = read_discriminator(path)
    assert found == beside
    assert state.keys() == {"logits.bias"}


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(path, tiny_model(), RUN)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save_weights(path, tiny_model(seed=1), {"not json": object()})
    assert path.read_bytes() == before
    assert json.dumps(read_config(path))
    assert len(list(tmp_path.iterdir())) == 1
