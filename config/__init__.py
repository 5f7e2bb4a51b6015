"""The configuration of a run: one YAML file, read and merged by OmegaConf, checked by pydantic.

``config.configuration`` has it all.  It is imported where one of its names is first asked for: with
the sections of all networks that takes seconds, and a command's ``--help`` needs none of them.
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
    if name not in __all__:  # else a submodule that is being imported would import this
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from config import configuration

    return getattr(configuration, name)
