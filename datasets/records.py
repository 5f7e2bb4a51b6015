"""Records of how a data set was made: one beside each clip, and files at the root.

``NAME.json`` beside the clip NAME says which part of which video it shows.  ``dataset.json`` holds
the settings that all clips share, ``face_crop.json`` the place of the faces in their frames.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field, JsonValue, PositiveInt

from datasets.clips import clip_name
from faces.crop import FaceCropConfig
from media.pictures import Box
from utils.errors import InputError
from utils.files import is_hidden
from utils.section import Section

SETTINGS, FACE_CROP = "dataset.json", "face_crop.json"
OLD_FACE_CROP = "geometry.json"  # name of FACE_CROP in earlier versions
RENAMED_RECORD_KEYS = {"geometry": "boxes"}  # keys of earlier versions

Boxes = Literal["published", "square"]  # the boxes of a table, or widened to squares
CommandSettings = Annotated[
    dict[str, JsonValue],
    AfterValidator(lambda found: {RENAMED_RECORD_KEYS.get(key, key): found[key] for key in found}),
]


class ClipRecord(Section):
    """Origin of a clip."""

    video: str  # name of its file
    frames: tuple[int, int]  # at 25 a second: the first, and the first one after the last
    video_size: tuple[PositiveInt, PositiveInt]  # width and height in pixels
    video_rate: str  # frames a second of the video, as a fraction
    boxes: Boxes = Field(validation_alias=AliasChoices("boxes", *RENAMED_RECORD_KEYS))
    box: Box  # the part that was cut out, in pixels of the video
    box_stated: Box | None = None  # the box of the table, where the edges of the video cut it
    aspect: float  # height / width of the box
    size: tuple[PositiveInt, PositiveInt]  # width and height of the frames that it was resized to
    resize: str = "bicubic, anti-aliased"


class DatasetSettings(Section):
    """Settings that all clips of a root share."""

    command: str
    settings: CommandSettings


def record_path(clip: Path) -> Path:
    """Return the path of the record of a clip: beside it, under its name."""
    return clip.with_name(f"{clip_name(clip)}.json")


def read_record(clip: Path) -> ClipRecord | None:
    """Read the record of a clip; None where it has none.  Raises InputError for a damaged one."""
    problem = "is not the record of a clip: delete both, and cut again."
    return ClipRecord.read_json(record_path(clip), problem)


def recorded_clips(folder: Path) -> list[Path]:
    """Find the clips in a folder that have a record, in the order of their names."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    candidates = [place for name in names for place in (folder / f"{name}.mp4", folder / name)]
    return [path for path in candidates if path.exists()]


def read_settings(root: Path) -> DatasetSettings | None:
    """Read the settings of a root; None where there are none.  Raises InputError."""
    problem = "does not hold the settings of a data set: delete it."
    return DatasetSettings.read_json(root / SETTINGS, problem)


def require_settings(root: Path, command: str, settings: dict[str, JsonValue]) -> None:
    """Write the settings of a new root; raise InputError where it was begun with other ones."""
    wanted = DatasetSettings(command=command, settings=settings)
    try:
        found = read_settings(root)
    except InputError as error:
        raise InputError(_begun_with(root, "settings that cannot be read")) from error
    if found is not None:
        if found.command != command:
            difference = f"other settings: by the command {found.command}"
            raise InputError(_begun_with(root, difference))
        names = sorted(found.settings.keys() | settings.keys())
        others = [name for name in names if found.settings.get(name) != settings.get(name)]
        if others:
            raise InputError(_begun_with(root, f"other settings of {', '.join(others)}"))
        return
    if root.is_dir() and any(not is_hidden(entry.name) for entry in root.iterdir()):
        raise InputError(f"{root} holds something else than a data set: name an empty --output.")
    wanted.write_json(root / SETTINGS)


def _begun_with(root: Path, difference: str) -> str:
    return (
        f"{root} was begun with {difference} ({SETTINGS}): use the same, or name another --output."
    )


def read_face_crop(root: Path) -> FaceCropConfig | None:
    """Read where the faces are in the clips of a root; None where no file says it.

    Raises InputError where the file is damaged, or has the name of earlier versions.
    """
    problem = "is not a face crop: delete it, or run the command again."
    found = FaceCropConfig.read_json(root / FACE_CROP, problem)
    if found is None and (root / OLD_FACE_CROP).is_file():
        raise InputError(
            f"{root / OLD_FACE_CROP} has the name of an earlier version: rename it to {FACE_CROP}."
        )
    return found
