"""Section ``data`` of a configuration: where the clips are, and how pairs are drawn from them."""

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
from typing_extensions import Self

from faces.crop import FaceCropConfig
from utils.errors import InputError
from utils.section import Section

Url = Annotated[str, Field(pattern=r"^[a-z0-9]+://")]  # a Path would join its two slashes
Location = Annotated[Url | Path, Field(union_mode="left_to_right")]


def _on_this_machine(path: Path) -> Path:
    if re.match("[a-z0-9]{2,}:/", str(path)):  # one letter may be a Windows drive
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
    # For small data sets; not in the published recipe, and 0 leaves the pixels of a frame unchanged
    scale: Strength = 0.0  # factor drawn from [1 - s, 1 + s]
    shift: Strength = 0.0  # to each side, as a fraction of the frame's
    rotation: Degrees = 0.0  # to each side
    warp: Warp = 0.0  # of each frame by itself: a second source of motion
    soft: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of pairs shown at half their resolution


class StillsConfig(Section):
    """Section ``data.stills``: still pictures, each of which counts as a clip of one frame.

    Both frames of a pair are made from one picture: each is scaled, shifted and turned by itself.
    """

    root: Folder  # of pictures named person#picture
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of the pairs
    warp: Warp = 1.0  # in the place of augmentation.warp


class SyntheticConfig(Section):
    """Section ``data.synthetic``: generated people, which ``datasets.synthetic`` draws."""

    train_identities: PositiveInt = 60
    test_identities: PositiveInt = 8
    clips_per_identity: PositiveInt = 1
    frames: Annotated[int, Field(ge=2)] = 48  # of a clip
    size: Annotated[int, Field(ge=32, multiple_of=2)] = 128  # height and width in pixels
    rate: PositiveInt = 25  # frames a second
    seed: Annotated[int, Field(ge=0)] = 0


class DataConfig(Section):
    """Section ``data``."""

    source: Literal["files", "stream"] = "files"  # stream: as `python -m datasets stream` writes it
    root: Location  # of files: holds train/ and test/, or all clips; of a stream: folder or URL
    cache: Folder = Path("data/cache")  # keeps clips of a URL
    cache_gb: NonNegativeFloat = 100  # of clips are kept; the others are fetched for each pair
    size: PositiveInt | tuple[PositiveInt, PositiveInt] = 256  # of frames: side; height, width
    repeats: PositiveInt = 75  # passes over the clips in an epoch
    identity_sampling: bool = True  # passes over people, a random clip of each, instead of clips
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.1  # of people, where root is not split
    split_seed: NonNegativeInt = 0  # chooses these people
    augmentation: AugmentationConfig = AugmentationConfig()
    # Folder of the decoded frames of files: 196 KB for each frame of 256 x 256
    frame_cache: Folder | None = None
    stills: StillsConfig | None = None  # a second kind of pairs
    landmarks: Folder | None = None  # of files of facial landmarks, as of `datasets landmarks`
    synthetic: SyntheticConfig | None = None  # files to generate at root when it is not there
    face_crop: FaceCropConfig | None = None  # how the frames were cut; default: face_crop.json

    @model_validator(mode="after")
    def _of_one_source(self) -> Self:
        if self.source == "files" and isinstance(self.root, str):
            raise ValueError(
                f"files cannot be at {self.root}: set source to stream, or name a folder"
            )
        if self.source == "stream" and self.frame_cache is not None:
            raise ValueError("frame_cache keeps the frames of files: leave it out for a stream")
        if self.source == "stream" and self.landmarks is not None:
            raise ValueError("landmarks are those of files: leave them out for a stream")
        return self

    @property
    def folder(self) -> Path:
        """Root of the files.  Raises InputError for a stream."""
        if self.source == "stream" or isinstance(self.root, str):
            raise InputError(
                f"This reads files of clips, but {self.root} is a stream: "
                "set data.source=files, and data.root to a folder."
            )
        return self.root

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of a frame."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
