"""The configuration of a run: one YAML file, read and merged by OmegaConf, checked by pydantic.

``load_config("vox.yaml")`` finds ``config/vox.yaml`` as well as a path.  A file that names another
as its ``base`` holds only what differs from that one.  Nothing is guessed: an unknown key, a wrong
type or a value out of range is an error that names its path.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, NonNegativeInt, ValidationError

from datasets.settings import DataConfig
from modules.checkpoints import read_config
from modules.discriminator import DiscriminatorConfig
from modules.errors import InputError
from modules.mcnet import ModelConfig
from modules.objective import LossConfig
from modules.section import Section
from modules.training_config import TrainConfig

FOLDER = Path(__file__).parent


class Config(Section):
    """All that a run is: the network, its data, its losses and its training."""

    name: str = Field(pattern=r"^[\w.-]+$")  # of the run, and of its folder
    seed: NonNegativeInt = 0
    model: ModelConfig
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    data: DataConfig
    loss: LossConfig
    train: TrainConfig


def load_config(name: str, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file, with overrides like ``train.batch_size=4`` merged in.

    Raises InputError that names the file, and the path of every wrong setting.
    """
    path = find_config(name)
    try:
        settings = merged(read(path), OmegaConf.from_dotlist(list(overrides)))
        bases = [path]
        while (base := settings.pop("base", None)) is not None:
            bases.append(find_config(str(base)))
            if bases[-1] in bases[:-1]:
                raise InputError(f"{path} is its own base: {' <- '.join(map(str, bases))}.")
            settings = merged(read(bases[-1]), settings)
        resolved = OmegaConf.to_container(settings, resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    return validate(resolved, origin=str(path))


def read(path: Path) -> DictConfig:
    """The settings in one file."""
    settings = OmegaConf.load(path)
    if not isinstance(settings, DictConfig):
        raise InputError(f"{path} is not a configuration: it holds no sections.")
    return settings


def merged(settings: DictConfig, changes: DictConfig) -> DictConfig:
    """Settings with those that change."""
    result = OmegaConf.merge(settings, changes)
    assert isinstance(result, DictConfig)
    return result


def find_config(name: str) -> Path:
    """``name`` as a path, or the file of that name in ``config/``."""
    candidates = [Path(name), FOLDER / name, FOLDER / f"{name}.yaml"]
    for path in candidates:
        if path.is_file():
            return path
    known = ", ".join(sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")))
    raise InputError(f"There is no configuration {name}: give a path, or one of {known}.")


def validate(settings: Any, origin: str) -> Config:
    """A configuration from plain settings, as read from YAML or from a checkpoint."""
    try:
        return Config.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        raise InputError(f"{origin}: {'; '.join(map(describe, error.errors()))}.") from error
    except TypeError as error:  # a date, say
        raise InputError(f"{origin}: {error}.") from error


def checkpoint_config(checkpoint: Path) -> Config:
    """The configuration in a checkpoint of ours.  Raises InputError for a published one."""
    settings = read_config(checkpoint)
    if settings is None:
        raise InputError(f"{checkpoint} is a published checkpoint: name its --config, vox.yaml.")
    return validate(settings, origin=str(checkpoint))


def describe(error: Any) -> str:
    """One wrong setting: its path, what is wrong, and what was found."""
    path = ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"{path}: is missing"
    return f"{path}: {error['msg']} (found {error['input']!r})"


def to_settings(config: Config) -> dict[str, Any]:
    """The resolved configuration as plain settings, every default written out."""
    settings: dict[str, Any] = config.model_dump(mode="json")
    return settings


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML."""
    return yaml.safe_dump(to_settings(config), sort_keys=False)
