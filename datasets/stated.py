"""What a data set states of itself, taken over into the configuration of a training."""

from datasets.config import DataConfig
from datasets.records import GEOMETRY, read_geometry
from datasets.streaming.storage import local_copy


def stated_geometry(data: DataConfig) -> DataConfig:
    """The section with the geometry of its frames in it, where that is known.

    What the configuration says comes before what ``geometry.json`` says in the root.  Raises
    InputError where that file is damaged and needed.
    """
    if data.geometry is not None:
        return data
    with local_copy(data.root, GEOMETRY) as folder:
        return data.model_copy(update={"geometry": read_geometry(folder)})
