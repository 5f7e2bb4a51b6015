"""Measure where the faces are in the clips of a data set, once, when the clips are made."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datasets.clips import open_clip
from datasets.records import FACE_CROP, read_record, recorded_clips
from faces.crop import FaceCropConfig
from faces.main_face import main_face, spread
from media.pictures import Box, Picture, resized
from utils.errors import InputError
from utils.progress import progress_bar

logger = logging.getLogger(__name__)

MAX_SAMPLED = 100  # clips in which faces are detected
MAX_ASPECT = 4  # of a crop, or of its inverse: no face is looked for in narrower ones


def write_face_crop(root: Path) -> FaceCropConfig | None:
    """Measure the face crop of the clips in ``root``, and write it there.

    Medians over a sample of the training clips, spread over their names: the same clips give the
    same numbers.  Returns None and writes no file where no face is found.
    """
    paths = recorded_clips(root / "train") or recorded_clips(root / "test")
    face_crop = measure_face_crop(spread(paths, MAX_SAMPLED))
    if face_crop is not None:
        face_crop.write_json(root / FACE_CROP)
    elif paths:
        logger.warning("No faces were found in the clips: how they are cropped is not recorded.")
    return face_crop


def measure_face_crop(paths: Sequence[Path]) -> FaceCropConfig | None:
    """Measure the median aspect of the crops of clips, and the median place of their faces."""
    found = []
    for path in progress_bar(paths, desc="faces", unit="clip"):  # up to a second for each
        try:
            record, clip = read_record(path), open_clip(path)
            (frame,) = clip.frames([clip.num_frames // 2])
        except InputError as error:
            logger.warning("Left out of the face crop: %s", error)
            continue
        if record is not None and (face := find_face(frame, record.aspect)) is not None:
            found.append([record.aspect, *face.centre, face.width])
    if not found:
        return None
    aspect, x, y, width = np.median(found, axis=0).round(3).tolist()
    return FaceCropConfig(aspect=aspect, face_x=x, face_y=y, face_width=width)


def find_face(frame: Picture, aspect: float) -> Box | None:
    """Find the largest face of a frame in its true proportions, in fractions of the frame.

    ``aspect`` is the height / width of the crop that was resized to the frame.
    """
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        return None
    width = frame.shape[1]
    height = round(width * aspect)
    face = main_face(resized(frame, (height, width)))
    return None if face is None else face.scaled(1 / width, 1 / height)
