"""The configuration of a run: one YAML file, read and merged by OmegaConf, checked by pydantic.

``config.configuration`` loads it as the sections of ``training.run_config``.  Both are imported
when one of their names is first used: the sections of all networks take seconds to import, and a
command's ``--help`` needs none of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from config.configuration import FOLDER, checkpoint_config, load_config, validate
    from training.run_config import Config, to_settings, to_yaml

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
    from training import run_config

    return getattr(configuration if hasattr(configuration, name) else run_config, name)
