"""Section ``data`` of a configuration: where clips are, and how pairs are drawn of them."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from datasets.synthetic.clips import SyntheticConfig
from faces.crop import FaceCropConfig
from utils.errors import InputError
from utils.section import Section

Url = Annotated[str, Field(pattern=r"^[a-z0-9]+://")]  # in a path, its two slashes would be one
Location = Annotated[Url | Path, Field(union_mode="left_to_right")]


def _on_this_machine(path: Path) -> Path:
    if re.match("[a-z0-9]{2,}:/", str(path)):  # a letter alone may be a disk
        raise ValueError("is an address: name a folder")
    return path


Folder = Annotated[Path, AfterValidator(_on_this_machine)]
Strength = Annotated[float, Field(ge=0, le=0.5)]
Degrees = Annotated[float, Field(ge=0, le=45)]
Warp = Annotated[float, Field(ge=0, le=2)]  # times the transform of the equivariance loss


class AugmentationConfig(Section):
    """Section ``data.augmentation``; the strengths are those of the published recipe."""

    horizontal_flip: bool = True
    time_flip: bool = True  # exchanges source and driving
    brightness: Strength = 0.1  # factor drawn from [1 - b, 1 + b]; contrast, saturation alike
    contrast: Strength = 0.1
    saturation: Strength = 0.1
    hue: Strength = 0.1  # shift drawn from [-hue, hue], in turns of the colour wheel
    # For small sets; not in the published recipe, and 0 leaves a frame's pixels as they are
    scale: Strength = 0.0  # factor drawn from [1 - s, 1 + s]
    shift: Strength = 0.0  # to each side, as a fraction of the frame's
    rotation: Degrees = 0.0  # to each side
    warp: Warp = 0.0  # of each frame by itself: a second source of motion
    soft: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of pairs shown at half their resolution


class StillsConfig(Section):
    """Section ``data.stills``: still pictures, which are people with one frame.

    Both frames of a pair are made of the one picture: each is scaled, shifted and turned by itself.
    """

    root: Folder  # of pictures named person#picture
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of the pairs
    warp: Warp = 1.0  # in the place of augmentation.warp


class DataConfig(Section):
    """Section ``data``."""

    source: Literal["files", "stream"] = "files"  # stream: what `python -m datasets stream` wrote
    root: Location  # of files: holds train/ and test/, or all clips; of a stream: folder or URL
    cache: Folder = Path("data/cache")  # keeps clips of a URL
    cache_gb: NonNegativeFloat = 100  # so much of them, the others are fetched whenever drawn
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 256  # of frames: side; height, width
    repeats: PositiveInt = 75  # passes over the clips in an epoch
    identity_sampling: bool = True  # passes over people, a random clip of each, instead of clips
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of people, where root is not split
    split_seed: NonNegativeInt = 0  # chooses these people
    augmentation: AugmentationConfig = AugmentationConfig()
    frame_cache: Folder | None = (
        None  # keeps all frames of files decoded: 196 KB each, at 256 x 256
    )
    stills: StillsConfig | None = None  # a second kind of pairs
    landmarks: Folder | None = None  # of files of facial landmarks, as of `datasets landmarks`
    synthetic: SyntheticConfig | None = None  # files to generate at root when it is not there
    face_crop: FaceCropConfig | None = None  # how the frames were cut; else what geometry.json says

    @model_validator(mode="after")
    def only_streams_have_urls(self) -> "DataConfig":
        if self.source == "files" and isinstance(self.root, str):
            raise ValueError(
                f"files cannot be at {self.root}: set source to stream, or name a folder"
            )
        return self

    @model_validator(mode="after")
    def only_files_are_decoded(self) -> "DataConfig":
        if self.source == "stream" and self.frame_cache is not None:
            raise ValueError("frame_cache keeps the frames of files: leave it out for a stream")
        return self

    @model_validator(mode="after")
    def only_files_have_landmarks(self) -> "DataConfig":
        if self.source == "stream" and self.landmarks is not None:
            raise ValueError("landmarks are those of files: leave them out for a stream")
        return self

    @property
    def folder(self) -> Path:
        """The root of files.  Raises InputError for a stream."""
        if self.source == "stream" or isinstance(self.root, str):
            raise InputError(
                f"This reads files of clips, but {self.root} is a stream: "
                "set data.source=files, and data.root to a folder."
            )
        return self.root

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
