"""Configurations of the published code and of FOMM are read as ours."""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Config, load_config
from modules.mcnet import ModelConfig
from utils.errors import InputError

HOURGLASS = {"block_expansion": 64, "max_features": 1024, "num_blocks": 5, "scale_factor": 0.25}
FOMM: dict[str, Any] = {
    "dataset_params": {"root_dir": "clips", "frame_shape": [256, 128, 3], "id_sampling": True},
    "model_params": {
        "common_params": {"num_kp": 10, "num_channels": 3, "estimate_jacobian": True},
        "kp_detector_params": {**HOURGLASS, "block_expansion": 32, "temperature": 0.1},
        "generator_params": {
            "block_expansion": 64,
            "max_features": 512,
            "num_down_blocks": 2,
            "num_bottleneck_blocks": 6,
            "dense_motion_params": HOURGLASS,
        },
        "discriminator_params": {"scales": [1], "block_expansion": 32, "use_kp": True},
    },
    "train_params": {
        "num_epochs": 7,
        "num_repeats": 5,
        "epoch_milestones": [4],
        "lr_generator": 1e-4,
        "scales": [1, 0.5],
        "transform_params": {"sigma_affine": 0.05, "sigma_tps": 0.005, "points_tps": 5},
        "loss_weights": {"generator_gan": 1, "perceptual": [10, 10], "equivariance_value": 3},
    },
    "visualizer_params": {"kp_size": 5},
}


def mcnet() -> dict[str, Any]:
    """The file of the published code: with a memory, and terms that it does not use."""
    settings = deepcopy(FOMM)
    settings["model_params"]["common_params"]["num_kp"] = 15
    settings["model_params"]["generator_params"] |= {"num_down_blocks": 3, "memsize": 8}
    weights = {"kp_distance": 10, "feat_consistent": 10, "kl_mb": 0, "FDIT": 0.0}
    settings["train_params"]["loss_weights"] |= weights
    return settings


def read(folder: Path, settings: dict[str, Any], *overrides: str) -> Config:
    path = folder / "vox 256.yaml"
    path.write_text(yaml.safe_dump(settings))
    return load_config(str(path), overrides)


def test_the_published_configuration_is_the_published_model(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = read(tmp_path, mcnet())
    assert config.model == ModelConfig()
    assert (config.loss.keypoint_distance, config.loss.memory_consistency) == (10, 10)
    taken, left_out = caplog.messages
    assert "vox 256.yaml is a configuration of the published code or of FOMM" in taken
    assert left_out == (
        "Nothing here corresponds to: model_params.generator_params.memsize=8, "
        "model_params.generator_params.num_bottleneck_blocks=6, visualizer_params."
    )


def test_the_configuration_of_fomm_is_without_a_memory(tmp_path):
    config = read(tmp_path, FOMM, "train.epochs=8")
    assert (config.name, config.model.memory, config.model.num_kp) == ("vox-256", None, 10)
    detector = config.model.keypoint_detector
    assert (detector.width, detector.downsample, detector.temperature) == (32, 4, 0.1)
    assert (config.model.generator.depth, config.discriminator.width) == (2, 32)
    assert (str(config.data.root), config.data.frame_size) == ("clips", (256, 128))
    assert not config.data.augmentation.horizontal_flip
    assert config.data.augmentation.hue == 0
    assert (config.data.repeats, config.train.epochs, config.train.milestones) == (5, 8, (4,))
    assert config.train.learning_rate.generator == 1e-4
    assert (config.loss.scales, config.loss.adversarial) == ((1, 2), 1)
    assert (config.loss.perceptual, config.loss.equivariance_value) == (10, 3)
    assert (config.loss.keypoint_distance, config.loss.memory_consistency) == (0, 0)


@pytest.mark.parametrize(
    ("section", "change", "named"),
    [
        ("loss_weights", {"perceptual": [10, 5]}, "train_params.loss_weights.perceptual=[10, 5]"),
        ("loss_weights", {"identity": 2}, "train_params.loss_weights.identity=2"),
        ("transform_params", {"sigma_tps": 0.1}, "train_params.transform_params.sigma_tps=0.1"),
    ],
)
def test_what_is_otherwise_here_is_named(tmp_path, caplog, section, change, named):
    settings = deepcopy(FOMM)
    settings["train_params"][section] |= change
    read(tmp_path, settings)
    assert named in caplog.text


def test_a_wrong_value_is_an_error_of_the_setting_that_it_becomes(tmp_path):
    settings = deepcopy(FOMM)
    settings["train_params"]["num_epochs"] = "many"
    with pytest.raises(InputError, match=r"vox 256.yaml: train.epochs: .*found 'many'"):
        read(tmp_path, settings)
