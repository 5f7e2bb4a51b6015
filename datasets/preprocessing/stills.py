"""Single pictures, written whole or not at all."""

from pathlib import Path

from PIL import Image

from media.pictures import Picture
from utils.errors import OutputError
from utils.files import temporary_path


def write_picture_whole(path: Path, picture: Picture) -> None:
    """Writes a PNG or a JPEG, by the ending, in place of an earlier one.  Raises OutputError."""
    temporary = temporary_path(path)
    try:
        if path.suffix.lower() == ".png":
            Image.fromarray(picture).save(temporary, "PNG")
        else:
            Image.fromarray(picture).save(temporary, "JPEG", quality=95, subsampling=0)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)
