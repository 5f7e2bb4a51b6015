"""What a data set states of itself, taken over into the configuration of a training."""

from pathlib import Path

from datasets.preparing.records import read_geometry
from datasets.settings import DataConfig


def stated_geometry(data: DataConfig) -> DataConfig:
    """The section with the geometry of its frames in it, where that is known.

    What the configuration says comes before what ``geometry.json`` says in the root.  Raises
    InputError where that file is damaged and needed.
    """
    if data.geometry is not None or not isinstance(data.root, Path):
        return data
    return data.model_copy(update={"geometry": read_geometry(data.root)})
