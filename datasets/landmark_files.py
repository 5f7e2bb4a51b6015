"""Read the facial landmarks of clips and stills from a folder with one file for each.

``FOLDER/train/NAME.mp4.npy`` belongs to ``ROOT/train/NAME.mp4``, and with the folder of a person
``FOLDER/train/PERSON/NAME.mp4.npy`` to ``ROOT/train/PERSON/NAME.mp4``: an array (frames, 68, 2) in
iBUG order, (x, y) in pixels of the clip's frames, NaN where no face was found.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.clips import MAX_DEPTH, frame_size
from modules.face_landmarks import NUM_LANDMARKS
from utils.errors import InputError


class LandmarkFile(NamedTuple):
    """Landmarks of the frames of one clip or still."""

    path: Path
    size: tuple[int, int]  # height and width of the frames, in whose pixels the landmarks are

    def read(self, numbers: Sequence[int]) -> np.ndarray:
        """Read the landmarks of some frames, (N, 68, 2) float32 as (x, y) in [-1, 1]."""
        found = read_landmarks(self.path)
        if max(numbers) >= len(found):
            raise InputError(
                f"{self.path} holds landmarks of {len(found)} frames: there is no frame "
                f"{max(numbers)}."
            )
        height, width = self.size
        last = np.array([max(width - 1, 1), max(height - 1, 1)], np.float32)
        return 2 * found[list(numbers)] / last - 1


def read_landmarks(path: Path) -> np.ndarray:
    """Read a file of landmarks, (T, 68, 2) float32 in pixels.  Raises InputError for others."""
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a readable file of landmarks.") from error
    if found.ndim != 3 or found.shape[1:] != (NUM_LANDMARKS, 2) or found.dtype.kind != "f":
        raise InputError(
            f"{path} holds an array of {found.dtype} and shape {found.shape}, not "
            f"landmarks (frames, {NUM_LANDMARKS}, 2)."
        )
    return found.astype(np.float32)


def landmark_file(folder: Path, media: Path) -> LandmarkFile | None:
    """Open the landmarks of a clip or picture ``media``; None where ``folder`` has none of it."""
    path = landmark_path(folder, media)
    return None if path is None else LandmarkFile(path, frame_size(media))


def landmark_path(folder: Path, media: Path) -> Path | None:
    """Find the file in ``folder`` that belongs to a clip or picture; None where there is none."""
    above = media.relative_to(media.anchor).parent.parts[-MAX_DEPTH - 1 :]  # and of its split
    paths = (folder.joinpath(*above[i:], f"{media.name}.npy") for i in range(len(above) + 1))
    return next((path for path in paths if path.is_file()), None)
