"""Settings of earlier versions, in YAML files and in checkpoints, get their names of today."""

from collections.abc import Mapping
from typing import Any

RENAMED_SETTINGS = {
    "train.recorded": "train.cuda_graph",
    "train.checkpointing": "train.activation_checkpointing",
    "train.average_decay": "train.ema_decay",
    "train.clip": "train.max_grad_norm",
    "data.geometry": "data.face_crop",
    "data.portraits": "data.stills",
    "data.decoded": "data.frame_cache",
}


def with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings of an earlier version, nested by section, their names of today."""
    result = {**settings}
    for old, new in RENAMED_SETTINGS.items():
        section, _, name = old.partition(".")
        if isinstance(result.get(section), Mapping) and name in result[section]:
            values = {**result[section]}
            values.setdefault(new.partition(".")[2], values.pop(name))
            result[section] = values
    return result
