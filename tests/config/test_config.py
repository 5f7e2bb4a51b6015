from pathlib import Path

import pytest
import yaml

from config import FOLDER, Config, load_config, to_settings, to_yaml, validate
from modules.mcnet import MCNet, ModelConfig
from utils.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(
        "name: run\nmodel: {num_kp: 5}\ndata: {root: data}\n"
        "loss: {vgg: random}\ntrain: {epochs: 2}\n"
    )
    return path


@pytest.mark.parametrize(
    "name", sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml"))
)
def test_every_file_of_the_folder_loads_by_its_name(name):
    config = load_config(name)
    assert config.name == name.removesuffix(".yaml").replace("/", "-").replace("_", "-")
    size = max(config.data.frame_size)
    assert size % MCNet(config.model).size_multiple == 0


def test_the_published_recipe_is_the_published_model():
    assert load_config("vox").model == ModelConfig()


@pytest.mark.parametrize("base", ["vox.yaml", "small.yaml"])
def test_the_ablation_differs_in_the_memory_alone(base):
    rows = {
        path.stem: to_settings(load_config(str(path), [f"base={base}"]))
        for path in FOLDER.glob("ablation/*.yaml")
    }
    memories = {name: row["model"].pop("memory") for name, row in rows.items()}
    assert {name: memory and memory.pop("identity") for name, memory in memories.items()} == {
        "no_memory": None,
        "keypoints": "keypoints",
        "feature": "feature",
        "both": "keypoints and feature",
    }
    assert memories["keypoints"] == memories["feature"] == memories["both"]
    for row in rows.values():
        assert {**row, "name": ""} == {**rows["both"], "name": ""}


def test_a_file_holds_what_differs_from_its_base(path):
    child = path.with_name("child.yaml")
    child.write_text(f"base: {path}\nname: child\nmodel: {{memory: null}}\n")
    config = load_config(str(child), ["train.epochs=3"])
    assert (config.name, config.model.num_kp, config.train.epochs) == ("child", 5, 3)
    assert config.model.memory is None


def test_a_file_that_is_its_own_base_is_named(path):
    path.write_text(path.read_text() + f"base: {path}\n")
    with pytest.raises(InputError, match="is its own base"):
        load_config(str(path))


def test_a_path_is_found_too(path):
    config = load_config(str(path))
    assert config.model.num_kp == 5
    assert config.train.epochs == 2


def test_a_missing_file_lists_those_there_are():
    with pytest.raises(InputError, match=r"no configuration nothing\.yaml.*demo\.yaml.*vox\.yaml"):
        load_config("nothing.yaml")


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.batch_size=4", lambda c: c.train.batch_size == 4),
        ("train.learning_rate.generator=1e-3", lambda c: c.train.learning_rate.generator == 1e-3),
        ("data.size=[64,96]", lambda c: c.data.frame_size == (64, 96)),
        ("model.expression_gain.eyes=1.5", lambda c: c.model.expression_gain.eyes == 1.5),
        ("model.memory=null", lambda c: c.model.memory is None),
        ("model.memory.identity=feature", lambda c: c.model.memory.identity == "feature"),
        ("data.root=/some/where", lambda c: c.data.root == Path("/some/where")),
    ],
)
def test_overrides_are_merged(path, override, read):
    assert read(load_config(str(path), [override]))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.batchsize=3", r"train\.batchsize.*not permitted.*found 3"),
        ("train.batch_size=eight", r"train\.batch_size.*integer.*found 'eight'"),
        ("train.batch_size=2.5", r"train\.batch_size.*found 2\.5"),
        ("train.batch_size=0", r"train\.batch_size.*greater than 0.*found 0"),
        ("model.memory.identity=name", r"model\.memory\.identity.*found 'name'"),
        ("trian.lr=1", r"trian.*not permitted"),
        ("train=3", r"train.*found 3"),
        ("model.expression_gain.eyes=0.5", r"expression_gain\.eyes.*equal to 1.*found 0\.5"),
        ("loss.pixel=-1", r"loss\.pixel.*greater than or equal to 0.*found -1"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(path, override, sentence):
    with pytest.raises(InputError, match=sentence):
        load_config(str(path), [override])


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("train.batchsize=3", "train.batch_size"),
        ("batch_size=3", "train.batch_size"),
        ("model.memory.temprature=3", "model.memory.temperature"),
        ("trian.epochs=1", "train"),
        ("data.augmentation.horizontal=true", "data.augmentation.horizontal_flip"),
    ],
)
def test_a_wrong_override_is_named_without_the_file_and_with_the_nearest_name(
    path, override, nearest
):
    with pytest.raises(InputError) as caught:
        load_config(str(path), ["seed=3", override])
    assert str(caught.value).startswith(f"--set {override}: ")
    assert str(caught.value).endswith(f"; the nearest name is {nearest}.")
    assert "run.yaml" not in str(caught.value)
    assert "seed" not in str(caught.value)


def test_what_is_wrong_in_the_file_is_still_said_of_the_file(path):
    path.write_text(path.read_text() + "sead: 1\n")
    with pytest.raises(InputError) as caught:
        load_config(str(path), ["train.epochs=0"])
    assert f"{path}: sead: " in str(caught.value)
    assert "the nearest name is seed." in str(caught.value)
    assert "--set train.epochs=0: train.epochs: " in str(caught.value)


@pytest.mark.parametrize("override", ["train.epochs", "=3", "model=[", "name=${nowhere}"])
def test_an_override_that_cannot_be_read_is_named(path, override):
    with pytest.raises(InputError) as caught:
        load_config(str(path), ["seed=3", override])
    assert str(caught.value).startswith(f"--set {override} ")
    assert "run.yaml" not in str(caught.value)


def test_a_missing_section_is_named(path):
    path.write_text("name: run\n")
    with pytest.raises(InputError, match="model: is missing"):
        load_config(str(path))


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "a: 1\na: 2\n", ""])
def test_a_file_that_is_no_configuration_is_one_sentence(path, text):
    path.write_text(text)
    with pytest.raises(InputError, match=r"run\.yaml"):
        load_config(str(path))


@pytest.mark.parametrize(
    "text",
    ["data: {root: '${nowhere}'}", "base: '${nowhere}'", "data: {root: '${oc.env:NOWHERE}'}"],
)
def test_an_interpolation_of_nothing_is_one_sentence(path, text):
    path.write_text(f"name: run\n{text}\n")
    with pytest.raises(InputError, match=r"run\.yaml.*(nowhere|NOWHERE)"):
        load_config(str(path))


def test_a_resolved_configuration_is_complete_and_reads_back(path):
    config = load_config(str(path))
    assert validate(to_settings(config), "settings") == config
    resolved = yaml.safe_load(to_yaml(config))
    assert resolved["model"]["memory"]["temperature"] == 4.0
    assert resolved.keys() == Config.model_fields.keys()


def test_settings_of_earlier_versions_have_todays_names(path):
    path.write_text(
        "name: run\nmodel: {num_kp: 5}\nloss: {vgg: random}\n"
        "data: {root: data, decoded: frames, portraits: {root: stills},"
        " geometry: {face_x: 0.5, face_y: 0.4, face_width: 0.6}}\n"
        "train: {recorded: true, average_decay: 0.9}\n"
    )
    config = load_config(str(path), ["train.clip=3", "train.checkpointing=false"])
    assert config.data.frame_cache == Path("frames")
    assert config.data.stills is not None
    assert config.data.face_crop is not None
    assert (config.train.cuda_graph, config.train.ema_decay) == (True, 0.9)
    assert (config.train.max_grad_norm, config.train.activation_checkpointing) == (3, False)
