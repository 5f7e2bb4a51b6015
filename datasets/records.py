"""What is kept of how a data set was made: a record beside each clip, and files at its root.

``NAME.json`` beside the clip NAME says what it was cut from.  ``dataset.json`` has the settings
that all clips share; ``geometry.json`` tells where in their frames the faces are.
"""

from pathlib import Path
from typing import Literal

from pydantic import JsonValue, PositiveInt, ValidationError

from datasets.clips import clip_name
from faces.crop import FaceCropConfig
from media.pictures import Box
from utils.errors import InputError
from utils.files import is_hidden, write_atomically
from utils.section import Section

SETTINGS, FACE_CROP = "dataset.json", "geometry.json"


class Record(Section):
    """Where a clip comes from."""

    video: str  # name of its file
    frames: tuple[int, int]  # at 25 a second: the first, and the first one after the last
    video_size: tuple[PositiveInt, PositiveInt]  # width and height in pixels
    video_rate: str  # frames a second of the video, as a fraction
    geometry: Literal["published", "square"]
    box: Box  # what was cut out, in pixels of the video
    box_stated: Box | None = None  # what the table asks for, where the video's edges cut it
    aspect: float  # height / width of the box
    size: tuple[PositiveInt, PositiveInt]  # width and height of the frames that it was resized to
    resize: str = "bicubic, anti-aliased"


class DatasetSettings(Section):
    """What all clips of a root have in common."""

    command: str
    settings: dict[str, JsonValue]


def record_path(clip: Path) -> Path:
    """The record of a clip: beside it, under its name."""
    return clip.with_name(f"{clip_name(clip)}.json")


def read_record(clip: Path) -> Record | None:
    """The record of a clip, None where there is none.  Raises InputError where it is damaged."""
    path = record_path(clip)
    try:
        return Record.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(
            f"{path} is not the record of a clip: delete both, and cut again."
        ) from error


def recorded_clips(folder: Path) -> list[Path]:
    """The clips in a folder that have a record, in the order of their names."""
    names = sorted(path.stem for path in folder.glob("*.json"))
    places = [[folder / f"{name}.mp4", folder / name] for name in names]
    return [path for candidates in places for path in candidates if path.exists()]


def keep_settings(root: Path, command: str, settings: dict[str, JsonValue]) -> None:
    """Writes the settings of a root; raises InputError where it was begun with others."""
    path = root / SETTINGS
    wanted = DatasetSettings(command=command, settings=settings)
    if path.is_file():
        try:
            found = DatasetSettings.model_validate_json(path.read_text())
        except (ValueError, ValidationError):
            found = None
        if found != wanted:
            raise InputError(
                f"{root} was begun with {_difference(found, wanted)} ({SETTINGS}): use the same, "
                "or name another --output."
            )
        return
    if root.is_dir() and any(not is_hidden(entry.name) for entry in root.iterdir()):
        raise InputError(f"{root} holds something else than a data set: name an empty --output.")
    write_atomically(path, wanted.model_dump_json(indent=1) + "\n")


def _difference(found: DatasetSettings | None, wanted: DatasetSettings) -> str:
    if found is None:
        return "settings that cannot be read"
    if found.command != wanted.command:
        return f"other settings: by the command {found.command}"
    names = sorted(found.settings.keys() | wanted.settings.keys())
    others = [name for name in names if found.settings.get(name) != wanted.settings.get(name)]
    return f"other settings of {', '.join(others)}"


def read_face_crop(root: Path) -> FaceCropConfig | None:
    """The geometry of the clips in ``root``, None where nothing says it.  Raises InputError."""
    path = root / FACE_CROP
    try:
        return FaceCropConfig.model_validate_json(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(
            f"{path} is not a geometry: delete it, or run the command again."
        ) from error
