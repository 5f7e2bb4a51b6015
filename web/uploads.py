"""Accept uploads: files are told by their first bytes, never by their names, and never trusted.

FFmpeg and Pillow open more kinds than pictures and videos, some of which name other files (play
lists) or run programs (PostScript): only those that are listed here reach them.  A file is measured
before it is decoded.
"""

import zipfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

from animation.animator import Animator
from animation.driving import DrivingTemplate
from animation.motion_template import SUFFIX
from faces.main_face import all_faces
from media.decoder import open_video
from media.file_kinds import InMemoryFile
from media.pictures import Box, Picture, open_picture, read_image, resized, size_within
from media.video import probe
from utils.errors import InputError
from utils.files import printable
from web.limits import Limits, Refusal

Kind = Literal["picture", "video", "motion"]

BEGINNING = 189  # bytes that tell the kind of a file
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*")
PICTURE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1")
RIFFS: dict[bytes, "Kind"] = {b"WEBP": "picture", b"AVI ": "video"}
GIFS = (b"GIF87a", b"GIF89a")
VIDEOS = (*GIFS, b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"\0\0\x01\xba", b"0&\xb2u\x8ef\xcf\x11")
MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
LONGEST_NAME = 80  # characters of a file's name in a message


class Portrait(NamedTuple):
    """Picture of people, one of whom is to be animated."""

    picture: Picture  # (H, W, 3)
    faces: list[Box]  # in pixels, the largest first


class Motion(NamedTuple):
    """Properties of a video or of a motion file that drives."""

    kind: Kind
    num_frames: int
    rate: float  # frames per second
    has_sound: bool


class Driving(NamedTuple):
    """Uploaded file that drives, or a motion of the project."""

    path: Path
    motion: Motion
    name: str  # for messages


def kind_of(beginning: bytes) -> Kind | None:
    """Tell the kind of a file by its first ``BEGINNING`` bytes; None for what is not accepted."""
    if beginning.startswith(b"PK\x03\x04"):
        return "motion"
    if beginning.startswith(b"RIFF"):
        return RIFFS.get(beginning[8:12])
    is_picture_atom = beginning[4:8] == b"ftyp" and beginning[8:12] in PICTURE_BRANDS
    if beginning.startswith(PICTURES) or is_picture_atom:
        return "picture"
    is_stream = beginning[:1] == b"G" and beginning[188:] == b"G"  # of MPEG packets
    is_video = beginning.startswith(VIDEOS) or beginning[4:8] in MP4_ATOMS or is_stream
    return "video" if is_video else None


def shown_name(name: str | None) -> str:
    """Return a user's name of a file for a message: one line of bounded length, no folders."""
    last = printable((name or "").replace("\\", "/").rpartition("/")[2]).strip()
    return last[:LONGEST_NAME] or "The file"


def read_portrait(data: bytes, name: str, limits: Limits) -> Portrait:
    """Read an uploaded picture and find its faces.  Raises InputError or Refusal."""
    kind = kind_of(data[:BEGINNING])
    if kind != "picture" and not data.startswith(GIFS):
        found = {"video": "a video", "motion": "a motion file"}.get(kind or "", "no picture")
        raise InputError(f"{name} is {found}: give a picture, such as a JPEG or PNG.")
    file = InMemoryFile(name, data, zlib.crc32(data))
    with open_picture(file) as opened:
        width, height = opened.size
    if width * height > limits.portrait_pixels:
        raise Refusal(
            413,
            f"{name} is {width} x {height} pixels: at most "
            f"{limits.portrait_pixels // 10**6} million are accepted.",
        )
    if min(width, height) < 16:
        raise InputError(f"{name} is {width} x {height} pixels, which is too small for a face.")
    return portrait_of(read_image(file), limits)


def portrait_of(picture: Picture, limits: Limits) -> Portrait:
    """Make a picture of any size a portrait, with its faces."""
    own = picture.shape[:2]
    if max(own) > limits.portrait_side:
        picture = resized(picture, size_within(own, (limits.portrait_side,) * 2))
    return Portrait(picture, all_faces(picture))


def face_of(portrait: Portrait, number: int) -> Box | None:
    """Return the face with this number; None for a portrait without faces.  Raises Refusal."""
    if not portrait.faces:
        return None
    if number >= len(portrait.faces):
        raise Refusal(422, f"The portrait has no face number {number}.")
    return portrait.faces[number]


def read_motion(path: Path, name: str, animator: Animator, limits: Limits) -> Motion:
    """Check an uploaded file that drives, of any ending.  Raises InputError or Refusal.

    Messages call it ``name``; the path does not appear in them.
    """
    try:
        kind = kind_of_file(path)
        if kind == "motion":
            return checked_template(path, name, animator, limits)
        return checked_video(path, name, kind, limits)
    except InputError as error:
        raise InputError(str(error).replace(str(path), name)) from error


def kind_of_file(path: Path) -> Kind | None:
    """Tell the kind of a file on the disk by its first bytes."""
    with path.open("rb") as file:
        return kind_of(file.read(BEGINNING))


def ending_of(path: Path) -> str:
    """Choose the ending that a file's content deserves, by which our readers choose theirs."""
    return {"motion": SUFFIX, "picture": ".webp", "video": ".mp4", None: ".unknown"}[
        kind_of_file(path)
    ]


def checked_template(path: Path, name: str, animator: Animator, limits: Limits) -> Motion:
    """Check a motion file, an archive of arrays, before it is decompressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(each.file_size for each in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{name} is not a readable motion file ({SUFFIX}).") from error
    if size > limits.motion_bytes:
        raise Refusal(413, f"{name} holds too much: at most {limits.motion_bytes} bytes.")
    template = DrivingTemplate(animator, path)
    require_length(template.num_frames, name, limits)
    return Motion("motion", template.num_frames, float(template.rate), False)


def checked_video(path: Path, name: str, kind: Kind | None, limits: Limits) -> Motion:
    """Check a video, or an animated picture, by its header and then by its first frame."""
    if kind is None:
        raise InputError(f"{name} is neither a video nor a motion file ({SUFFIX}): give one.")
    if kind == "picture":
        with open_picture(path) as opened:
            (width, height), num_frames = opened.size, getattr(opened, "n_frames", 1)
        if width * height * num_frames > limits.animation_pixels:
            raise Refusal(413, f"{name} is too long for an animated picture: give a video.")
    else:
        with open_video(path) as video:
            codec = video.stream.codec_context
            width, height = codec.width, codec.height
            num_frames = video.stream.frames
    if width * height > limits.driving_pixels:
        raise Refusal(413, f"{name} has frames of {width} x {height} pixels: give a smaller video.")
    require_length(num_frames, name, limits)
    found = probe(path)
    if found.num_frames < 2:
        raise InputError(f"{name} is a picture, which does not move: give a video.")
    require_length(found.num_frames, name, limits)
    return Motion("video", found.num_frames, float(found.rate), found.has_audio)


def require_length(num_frames: int, name: str, limits: Limits) -> None:
    """Raise Refusal for a motion of too many frames."""
    if num_frames > limits.driving_frames:
        raise Refusal(
            413, f"{name} has {num_frames} frames: at most {limits.driving_frames} are accepted."
        )
