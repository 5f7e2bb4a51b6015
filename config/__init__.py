"""The configuration of a run: one YAML file, read and merged by OmegaConf, checked by pydantic.

``config.configuration`` loads it, and is imported when one of its names is first used: the
sections of all networks take seconds to import, and a command's ``--help`` needs none of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from config.configuration import (
        FOLDER,
        Config,
        checkpoint_config,
        load_config,
        to_settings,
        to_yaml,
        validate,
    )

__all__ = [
    "FOLDER",
    "Config",
    "checkpoint_config",
    "load_config",
    "to_settings",
    "to_yaml",
    "validate",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:  # else importing a submodule would import this
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from config import configuration

    return getattr(configuration, name)
