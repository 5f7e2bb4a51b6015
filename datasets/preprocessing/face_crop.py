"""Where in the clips of a data set the faces are: measured once, when the clips are made."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.clips import open_clip
from datasets.records import FACE_CROP, read_record, recorded_clips
from faces.crop import FaceCropConfig
from faces.main_face import main_face
from media.pictures import Box, Picture, resized
from utils.errors import InputError
from utils.files import write_atomically
from utils.progress import progress_bar

logger = logging.getLogger(__name__)

MAX_SAMPLED = 100  # clips in which faces are looked for
MAX_ASPECT = 4  # of a cut, or of its inverse: in narrower ones no face is looked for


def write_face_crop(root: Path) -> FaceCropConfig | None:
    """Measures the face_crop of the clips in ``root``, and writes it there.

    Medians over a sample of the training clips, spread over their names: the same for the same
    clips.  None, and no file, where no face is found in them.
    """
    paths = recorded_clips(root / "train") or recorded_clips(root / "test")
    places = np.linspace(0, len(paths) - 1, min(len(paths), MAX_SAMPLED)).round().astype(int)
    face_crop = measure_face_crop([paths[place] for place in places])
    if face_crop is not None:
        write_atomically(root / FACE_CROP, face_crop.model_dump_json(indent=1) + "\n")
    elif paths:
        logger.warning("No faces were found in the clips: how they are cropped is not recorded.")
    return face_crop


def measure_face_crop(paths: Sequence[Path]) -> FaceCropConfig | None:
    """The median aspect of the cuts of these clips, and the median place of the faces in them."""
    found = []
    for path in progress_bar(paths, desc="faces", unit="clip"):  # up to a second for each
        try:
            record, clip = read_record(path), open_clip(path)
            (frame,) = clip.frames([clip.num_frames // 2])
        except InputError as error:
            logger.warning("Left out of the face_crop: %s", error)
            continue
        if record is not None and (face := find_face(frame, record.aspect)) is not None:
            found.append([record.aspect, *face.centre, face.width])
    if not found:
        return None
    aspect, x, y, width = np.median(found, axis=0).round(3).tolist()
    return FaceCropConfig(aspect=aspect, face_x=x, face_y=y, face_width=width)


def find_face(frame: Picture, aspect: float) -> Box | None:
    """The largest face of a frame, as fractions of it, looked for in the frame's true proportions.

    ``aspect`` is the height / width of what was resized to the frame.
    """
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        return None
    width = frame.shape[1]
    size = width, round(width * aspect)
    face = main_face(resized(frame, size[::-1]))
    return None if face is None else face.scaled(1 / size[0], 1 / size[1])
