"""Read, resize and write still pictures, and list folders of frames."""

import importlib
import io
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from media.file_kinds import InMemoryFile, kind_of_media, require_file
from utils.errors import InputError
from utils.files import atomic_file, is_hidden, naming_errors

if TYPE_CHECKING:
    import torch

    from media.provenance import Provenance

Picture = NDArray[np.uint8]  # (H, W, 3), RGB
Pictures = Sequence[Picture] | NDArray[np.uint8]  # (B, H, W, 3): pictures of one size
Size = tuple[int, int]  # height and width

FRAME_SUFFIXES = {".png", ".jpg", ".jpeg"}  # of the frames in a folder
HEIC_SUFFIXES = {".heic", ".heif", ".hif"}
PICTURE_SUFFIXES = (
    FRAME_SUFFIXES | {".bmp", ".webp", ".tif", ".tiff", ".avif", ".apng"} | HEIC_SUFFIXES
)
HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
MAX_PIXELS = 300_000_000  # of a picture: phones make 200 million

ALIKE = 0.02  # shapes of pictures, and of pixels, that differ by no more are taken as equal

logger = logging.getLogger(__name__)


class Box(NamedTuple):
    """Rectangle in pixels or in fractions of a picture, without its ``right`` and ``bottom``."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def scaled(self, x: float, y: float) -> "Box":
        """Convert the box to another unit."""
        return Box(self.left * x, self.top * y, self.right * x, self.bottom * y)

    def shifted(self, x: float, y: float) -> "Box":
        """Move the box to the right and down."""
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)

    def within(self, width: float, height: float) -> "Box":
        """Shift the box into a picture, and cut it off where it is larger than that."""
        left = min(max(self.left, 0), max(width - self.width, 0))
        top = min(max(self.top, 0), max(height - self.height, 0))
        return Box(left, top, min(left + self.width, width), min(top + self.height, height))

    def squared(self, width: float, height: float) -> "Box":
        """Make the smallest square around the box, shifted into a picture of this size.

        Where the picture is too small for it, its side is the shorter one of the picture.
        """
        half = min(max(self.width, self.height), width, height) / 2
        x, y = self.centre
        return Box(x - half, y - half, x + half, y + half).within(width, height)


def read_image(file: str | Path | InMemoryFile) -> Picture:
    """Read a picture of any mode in sRGB, upright by its EXIF tag, transparent parts on white."""
    with open_picture(Path(file) if isinstance(file, str) else file) as opened:
        return to_rgb(opened)


def to_rgb(opened: Image.Image) -> Picture:
    """Convert the current frame of an open picture to upright sRGB (H, W, 3), on white."""
    image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8
        grey = (np.asarray(image) / 257).round().astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if image.has_transparency_data:
        return over_white(np.asarray(in_srgb(image.convert("RGBA"))))
    return np.array(in_srgb(image).convert("RGB"))


def in_srgb(image: Image.Image) -> Image.Image:
    """Convert the colours of a picture from its ICC profile to sRGB.

    Without a profile the picture is unchanged; so it is with a damaged one, which is logged.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(own).startswith("sRGB"):
            return image
        if own.profile.xcolor_space.strip() == "RGB" and image.mode != "RGBA":
            image = image.convert("RGB")  # of grey, or by a palette
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, own, srgb, outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        logger.warning("The colour profile of a picture is left out, as it is damaged: %s.", error)
        return image


def picture_size(path: Path) -> tuple[int, int]:
    """Read height and width as stored, without decoding the picture."""
    with open_picture(path) as image:
        return image.height, image.width


def frame_paths(folder: Path) -> list[Path]:
    """List the PNG and JPEG frames of a folder, ``frame2`` before ``frame10``."""
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from error
    frames = [
        entry
        for entry in entries
        if entry.suffix.lower() in FRAME_SUFFIXES and not is_hidden(entry.name)
    ]
    if not frames:
        raise InputError(f"{folder} holds no PNG or JPEG frames: give a folder that does.")
    return sorted(frames, key=_natural_order)


def require_text(path: Path) -> None:
    """Raise InputError where a name is not one line of UTF-8, which tables and lists need."""
    try:
        readable = path.name.encode() and len(path.name.splitlines()) == 1
    except UnicodeEncodeError:
        readable = False
    if not readable:
        raise InputError(f"The name of {str(path)!a} is not one line of UTF-8: rename it.")


def resized(picture: Picture, size: Size, box: Box | None = None) -> Picture:
    """Resize a picture, or the part of it in ``box``, to another height and width.

    Bicubic, and anti-aliased where it shrinks; the picture itself where its size is right.
    """
    if box is None and picture.shape[:2] == size:
        return picture
    height, width = size
    image = Image.fromarray(picture)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))


def fitted(picture: Picture, size: Size) -> Picture:
    """Resize a picture to another height and width, on black where its shape differs."""
    return on_black(resized(picture, size_within(picture.shape[:2], size)), size)


def size_within(own: tuple[int, ...], size: Size) -> Size:
    """Height and width of a picture of ``own`` inside ``size``: all of it, unless shapes differ."""
    scale = min(side / old for side, old in zip(size, own, strict=True))
    height, width = (max(round(scale * old), 1) for old in own)
    alike = height > (1 - ALIKE) * size[0] and width > (1 - ALIKE) * size[1]
    return size if alike else (height, width)


def on_black(picture: Picture, size: Size) -> Picture:
    """Put a picture in the middle of a black one that is at least as large."""
    height, width, _ = picture.shape
    if (height, width) == size:
        return picture
    whole = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    whole[top : top + height, left : left + width] = picture
    return whole


def over_white(rgba: NDArray[np.uint8]) -> Picture:
    """Blend a picture with transparency over white."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


@contextmanager
def open_picture(file: Path | InMemoryFile) -> Iterator[Image.Image]:
    """Open a picture; any error of Pillow, now or later, becomes an InputError."""
    if isinstance(file, Path):
        require_file(file, "a picture")
    try:
        with _identified(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(
                    f"{file} is {image.width} x {image.height} pixels: pictures of more than "
                    f"{MAX_PIXELS // 10**6} million are not read; make it smaller."
                )
            yield image
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, OSError) and error.strerror:  # the system's, not Pillow's
            raise InputError(f"{file} cannot be read: {error.strerror}.") from error
        if isinstance(error, UnidentifiedImageError) and (kind := kind_of_media(file)):
            raise InputError(f"{file} is {kind}, not a picture: give a picture.") from error
        raise InputError(f"{file} is not a readable picture: {error}.") from error


_limit = threading.Lock()


def _identified(file: Path | InMemoryFile) -> Image.Image:
    """Open a picture of any size with Pillow, by ``pillow-heif`` where it is HEIC."""
    try:
        return _unlimited(file)
    except UnidentifiedImageError:
        if not _is_heic(file):
            raise
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise InputError(
            f"{file} is a HEIC picture: pip install pillow-heif, or convert it to JPEG."
        ) from error
    return _unlimited(file)


def _unlimited(file: Path | InMemoryFile) -> Image.Image:
    """Open a picture without Pillow's limit, which warns of half as many pixels as phones make."""
    with _limit:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file if isinstance(file, Path) else io.BytesIO(file.data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _is_heic(file: Path | InMemoryFile) -> bool:
    """Tell whether the content of a file, whatever its name, is HEIC."""
    with file.open("rb") if isinstance(file, Path) else io.BytesIO(file.data) as opened:
        beginning = opened.read(12)
    return beginning[4:8] == b"ftyp" and beginning[8:] in HEIC_BRANDS


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key of a name in which numbers are compared as numbers."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def write_picture_whole(
    path: Path, picture: Picture, provenance: "Provenance | None" = None
) -> None:
    """Write a PNG or a JPEG, by the ending, all of it or nothing.  Raises OutputError.

    A generated picture is a PNG, with its ``provenance``.
    """
    with naming_errors(path), atomic_file(path) as temporary:
        if path.suffix.lower() == ".png":
            save_png(temporary, picture, provenance)
        else:
            Image.fromarray(picture).save(temporary, "JPEG", quality=95, subsampling=0)


def save_png(path: Path, picture: Picture, provenance: "Provenance | None" = None) -> None:
    """Save a PNG, a generated one with its ``provenance``."""
    text = None if provenance is None else provenance.png_text
    Image.fromarray(picture).save(path, "PNG", pnginfo=text)
    if provenance is not None:
        provenance.finish(path, "png")


def channels_first(
    pictures: "Pictures | torch.Tensor", device: "str | torch.device | None" = None
) -> "torch.Tensor":
    """Stack pictures (B, H, W, 3) into a batch (B, 3, H, W) of uint8."""
    import torch  # here, since preparing data needs none

    batch = pictures if isinstance(pictures, torch.Tensor) else torch.from_numpy(np.array(pictures))
    return (batch if device is None else batch.to(device)).permute(0, 3, 1, 2)


def unit_range(
    pictures: "Pictures | torch.Tensor", device: "str | torch.device | None" = None
) -> "torch.Tensor":
    """Stack pictures (B, H, W, 3) uint8 into a batch (B, 3, H, W) of float32 in [0, 1]."""
    return channels_first(pictures, device).float() / 255
