"""The configuration of a run: one YAML file, read and merged by OmegaConf, checked by pydantic.

``load_config("vox.yaml")`` finds ``config/vox.yaml`` as well as a path.  A file that names another
as its ``base`` holds only what differs from that one.  Nothing is guessed: an unknown key, a wrong
type or a value out of range is an error that names its path.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from config.foreign import is_foreign, translate
from modules.checkpoints import read_config
from training.run_config import Config
from utils.errors import InputError
from utils.renamed_settings import with_current_names
from utils.section import Section

FOLDER = Path(__file__).parent

logger = logging.getLogger(__name__)


def load_config(name: str, overrides: Sequence[str] = ()) -> Config:
    """Load the configuration in a YAML file, with overrides like ``train.batch_size=4`` merged in.

    Raises InputError that names the file or the override, and the path of every wrong setting.
    """
    path = find_config(name)
    changes = parse_overrides(overrides)
    with named(str(path), overrides):
        settings = merged(read(path), changes)
        bases = [path]
        while (base := settings.pop("base", None)) is not None:
            bases.append(find_config(str(base)))
            if bases[-1] in bases[:-1]:
                raise InputError(f"{path} is its own base: {' <- '.join(map(str, bases))}.")
            settings = merged(read(bases[-1]), settings)
        resolved = OmegaConf.to_container(settings, resolve=True)
    return validate(resolved, origin=str(path), overrides=overrides)


@contextmanager
def named(origin: str, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Turn errors of OmegaConf into an InputError that names the override, or else ``origin``."""
    try:
        yield
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        lines = str(error).splitlines()
        reason = " ".join(lines[:1] if isinstance(error, OmegaConfBaseException) else lines)
        place = overrides_of(overrides, getattr(error, "full_key", None) or "") or origin
        raise InputError(f"{place} cannot be read: {reason}.") from error


def parse_overrides(overrides: Sequence[str]) -> DictConfig:
    """Parse several NAME=VALUE; later ones replace earlier ones."""
    changes = OmegaConf.create()
    for override in overrides:
        with named(f"--set {override}"):
            changes = merged(changes, parse_override(override))
    return changes


def parse_override(text: str) -> DictConfig:
    """Parse one NAME=VALUE."""
    if not text.partition("=")[0].strip() or "=" not in text:
        raise InputError(f"--set {text} is not NAME=VALUE: train.batch_size=4, for example.")
    return current(OmegaConf.from_dotlist([text]))


def read(path: Path) -> DictConfig:
    """Read the settings in one file."""
    settings = OmegaConf.load(path)
    if not isinstance(settings, DictConfig):
        raise InputError(f"{path} is not a configuration: it holds no sections.")
    return translated(settings, path) if is_foreign(settings) else current(settings)


def current(settings: DictConfig) -> DictConfig:
    """Give settings of earlier versions their names of today."""
    plain: Any = OmegaConf.to_container(settings)
    return OmegaConf.create(with_current_names(plain))


def translated(theirs: DictConfig, path: Path) -> DictConfig:
    """Translate settings of the published code or of FOMM, and log what they were taken for."""
    plain: Any = OmegaConf.to_container(theirs)
    translation = translate(plain, name=re.sub(r"[^\w.-]", "-", path.stem))
    logger.info("%s is a configuration of the published code or of FOMM, read as ours.", path)
    if translation.left_out:
        logger.warning("Nothing here corresponds to: %s.", ", ".join(translation.left_out))
    settings = OmegaConf.create()
    for name, value in translation.settings.items():
        OmegaConf.update(settings, name, value)
    return settings


def merged(settings: DictConfig, changes: DictConfig) -> DictConfig:
    """Merge changes into settings."""
    result = OmegaConf.merge(settings, changes)
    assert isinstance(result, DictConfig)
    return result


def find_config(name: str) -> Path:
    """Find a configuration by its path, or by its name in ``config/``."""
    candidates = [Path(name), FOLDER / name, FOLDER / f"{name}.yaml"]
    for path in candidates:
        if path.is_file():
            return path
    known = ", ".join(sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")))
    raise InputError(f"There is no configuration {name}: give a path, or one of {known}.")


def validate(settings: Any, origin: str, overrides: Sequence[str] = ()) -> Config:
    """Validate plain settings, as read from YAML or from a checkpoint.

    Raises InputError that names each wrong setting, and ``origin`` unless an override made it.
    """
    try:
        return Config.model_validate_json(json.dumps(settings))
    except ValidationError as error:
        wrong: dict[str, list[str]] = {}  # by where it was set
        for one in error.errors():
            path = ".".join(map(str, one["loc"]))
            wrong.setdefault(overrides_of(overrides, path) or origin, []).append(
                describe(one, path)
            )
        sentences = (f"{place}: {'; '.join(each)}." for place, each in wrong.items())
        raise InputError(" ".join(sentences)) from error
    except TypeError as error:  # a date, for example
        raise InputError(f"{origin}: {error}.") from error


def overrides_of(overrides: Sequence[str], path: str) -> str:
    """Name the overrides that set a dotted path, a part of it, or a section around it."""
    names = {text: text.partition("=")[0].strip() for text in overrides}
    return " ".join(
        f"--set {text}"
        for text, name in names.items()
        if f"{path}.".startswith(f"{name}.") or f"{name}.".startswith(f"{path}.")
    )


def checkpoint_config(checkpoint: Path, overrides: Sequence[str] = ()) -> Config:
    """Load the configuration in our own checkpoint, with overrides merged in.

    Raises InputError for a published one, and for wrong overrides.
    """
    settings = read_config(checkpoint)
    if settings is None:
        raise InputError(f"{checkpoint} is a published checkpoint: name its --config, vox.yaml.")
    with named(str(checkpoint), overrides):
        changed = merged(OmegaConf.create(settings), parse_overrides(overrides))
        resolved = OmegaConf.to_container(changed, resolve=True)
    return validate(resolved, origin=str(checkpoint), overrides=overrides)


def describe(error: Any, path: str) -> str:
    """Describe a wrong setting: its path, what is wrong, and what was found."""
    if error["type"] == "missing":
        return f"{path}: is missing"
    text = f"{path}: {error['msg']} (found {error['input']!r})"
    near = nearest_setting(path) if error["type"] == "extra_forbidden" else None
    return text if near is None else f"{text}; the nearest name is {near}"


def nearest_setting(path: str) -> str | None:
    """Find the setting whose name is most like an unknown one, first in the same section."""
    known = list(setting_paths(Config))
    section, _, name = path.rpartition(".")
    beside = {one.rpartition(".")[2]: one for one in known if one.rpartition(".")[0] == section}
    anywhere = {one.rpartition(".")[2]: one for one in known}
    for names in (beside, anywhere):
        for match in get_close_matches(name, names, n=1, cutoff=0.7):
            return names[match]
    return next(iter(get_close_matches(path, known, n=1)), None)


def setting_paths(section: type[Section], prefix: str = "") -> Iterator[str]:
    """List the dotted paths of all settings and sections."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Section):
                yield from setting_paths(part, f"{prefix}{name}.")
