"""Single pictures, resized and written whole or not at all."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.pictures import Picture
from modules.errors import OutputError


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture with this width and height, anti-aliased; itself where it has them."""
    if picture.shape[:2] == size[::-1]:
        return picture
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def write_picture_whole(path: Path, picture: Picture) -> None:
    """Writes a PNG or a JPEG, by the ending, in place of an earlier one.  Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix.lower() == ".png":
            Image.fromarray(picture).save(temporary, "PNG")
        else:
            Image.fromarray(picture).save(temporary, "JPEG", quality=95, subsampling=0)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
