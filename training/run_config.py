"""The configuration of a run: a section for each of its parts."""

from typing import Any

import yaml
from pydantic import Field, NonNegativeInt

from datasets.config import DataConfig
from modules.discriminator import DiscriminatorConfig
from modules.mcnet import ModelConfig
from training.config import TrainConfig
from training.objective import LossConfig
from utils.section import Section


class Config(Section):
    """Configuration of a run: the network, its data, its losses and its training."""

    name: str = Field(pattern=r"^[\w.-]+$")  # of the run, and of its folder
    seed: NonNegativeInt = 0
    model: ModelConfig
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    data: DataConfig
    loss: LossConfig
    train: TrainConfig


def to_settings(config: Config) -> dict[str, Any]:
    """Convert a configuration to plain settings, with every default written out."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    return settings


def to_yaml(config: Config) -> str:
    """Convert a configuration to YAML, with every default written out."""
    return yaml.safe_dump(to_settings(config), sort_keys=False)
