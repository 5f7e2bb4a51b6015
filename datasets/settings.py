"""The section of a configuration that says where clips are and how pairs are drawn of them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from datasets.augmentation import AugmentationConfig
from datasets.geometry import Geometry
from datasets.synthetic import SyntheticConfig
from modules.section import Section


class DataConfig(Section):
    """Section ``data``."""

    root: Path  # holds train/ and test/, or all clips
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 256  # of frames: side; height, width
    repeats: PositiveInt = 75  # passes over the clips in an epoch
    identity_sampling: bool = True  # passes over people, a random clip of each, instead of clips
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of people, where root is not split
    split_seed: NonNegativeInt = 0  # chooses these people
    augmentation: AugmentationConfig = AugmentationConfig()
    synthetic: SyntheticConfig | None = None  # what to generate at root when it is not there
    geometry: Geometry | None = None  # how the frames were cut; else what geometry.json says

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
