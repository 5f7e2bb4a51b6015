"""Still pictures, and folders of them that stand for a video."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from datasets.content import Content
from datasets.file_kinds import kind_of_media, require_file
from datasets.geometry import Box
from modules.errors import InputError

Picture = NDArray[np.uint8]  # (H, W, 3), RGB
Size = tuple[int, int]  # height and width

FRAME_SUFFIXES = {".png", ".jpg", ".jpeg"}  # of the frames in a folder
PICTURE_SUFFIXES = FRAME_SUFFIXES | {".bmp", ".webp", ".tif", ".tiff"}

ALIKE = 0.02  # shapes of pictures, and of pixels, that differ by no more are taken as equal


def read_image(file: str | Path | Content) -> Picture:
    """A picture of any mode as RGB, upright by its EXIF tag, transparent parts over white."""
    with _open(Path(file) if isinstance(file, str) else file) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8
            grey = (np.asarray(image) / 257).round().astype(np.uint8)
            return np.stack([grey] * 3, axis=-1)
        if image.has_transparency_data:
            return over_white(np.asarray(image.convert("RGBA")))
        return np.array(image.convert("RGB"))


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width as stored, without decoding the picture."""
    with _open(path) as image:
        return image.height, image.width


def frame_paths(folder: Path) -> list[Path]:
    """The PNG and JPEG frames of a folder, ``frame2`` before ``frame10``."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from error
    frames = [
        entry
        for entry in entries
        if entry.suffix.lower() in FRAME_SUFFIXES and not entry.name.startswith(".")
    ]
    if not frames:
        raise InputError(f"{folder} holds no PNG or JPEG frames: give a folder that does.")
    return sorted(frames, key=_natural_order)


def require_text(path: Path) -> None:
    """Raises InputError where a name is not one line of UTF-8, which tables and lists need."""
    try:
        readable = path.name.encode() and len(path.name.splitlines()) == 1
    except UnicodeEncodeError:
        readable = False
    if not readable:
        raise InputError(f"The name of {str(path)!a} is not one line of UTF-8: rename it.")


def resized(picture: Picture, size: Size, box: Box | None = None) -> Picture:
    """A picture, or the part of it in ``box``, at another height and width.

    Bicubic, and anti-aliased where it shrinks; the picture itself where nothing is to be done.
    """
    if box is None and picture.shape[:2] == size:
        return picture
    height, width = size
    image = Image.fromarray(picture)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))


def fitted(picture: Picture, size: Size) -> Picture:
    """A picture in another height and width: where its shape differs, in the middle, on black."""
    return on_black(resized(picture, size_within(picture.shape[:2], size)), size)


def size_within(own: tuple[int, ...], size: Size) -> Size:
    """Height and width that a picture of ``own`` has within ``size``: all, unless shapes differ."""
    scale = min(side / old for side, old in zip(size, own, strict=True))
    height, width = (max(round(scale * old), 1) for old in own)
    alike = height > (1 - ALIKE) * size[0] and width > (1 - ALIKE) * size[1]
    return size if alike else (height, width)


def on_black(picture: Picture, size: Size) -> Picture:
    """A picture in the middle of a black one that is at least as large."""
    height, width, _ = picture.shape
    if (height, width) == size:
        return picture
    whole = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    whole[top : top + height, left : left + width] = picture
    return whole


def over_white(rgba: NDArray[np.uint8]) -> Picture:
    """The picture that a viewer with a white page shows."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


@contextmanager
def _open(file: Path | Content) -> Iterator[Image.Image]:
    if isinstance(file, Path):
        require_file(file, "a picture")
    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file.data)) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.strerror:  # the system's, not Pillow's
            raise InputError(f"{file} cannot be read: {error.strerror}.") from error
        if isinstance(error, UnidentifiedImageError) and (kind := kind_of_media(file)):
            raise InputError(f"{file} is {kind}, not a picture: give a picture.") from error
        raise InputError(f"{file} is not a readable picture: {error}.") from error


def _natural_order(path: Path) -> list[tuple[int, str]]:
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
