"""Landmarks of real and generated frames, found or read from files; AKD and MKR, of these."""

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from datasets.landmark_files import landmark_file, landmark_path, read_landmarks
from evaluation.metrics.interface import Frames, Measured
from faces.landmarks import Landmarks
from media.pictures import Picture, Pictures, frame_paths
from modules.face_landmarks import NUM_LANDMARKS
from utils.errors import InputError

SIZE = 256  # AKD is in pixels of frames of this height

NO_REAL_FACE = "no face in the real frame"  # why a metric has no value
NO_FACE = "no face in the result"


class GivenLandmarks:
    """Landmarks of the frames of one clip or picture, from the files in a folder.

    None without a folder; NaN where it has no file of the clip, or no face was found.
    """

    def __init__(self, folder: Path | None, media: Path) -> None:
        """Read the file of a clip or picture; raises InputError where it is damaged."""
        self.folder = folder
        self.file = None if folder is None else landmark_file(folder, media)
        self.found = None if self.file is None else read_landmarks(self.file.path)
        paths = frame_paths(media) if self.file is not None and media.is_dir() else []
        self.numbers = {path: number for number, path in enumerate(paths)}

    def __call__(self, frame: int | Path, picture: Picture) -> np.ndarray | None:
        """Return the landmarks of a frame, by its number or by its file in a folder: (68, 2).

        In pixels of ``picture``, which is the frame, resized as a whole.  Raises InputError where
        the landmarks end before this frame.
        """
        if self.folder is None:
            return None
        number = self.numbers.get(frame) if isinstance(frame, Path) else frame
        if self.file is None or self.found is None or number is None:
            return np.full((NUM_LANDMARKS, 2), np.nan)
        if number >= len(self.found):
            raise InputError(
                f"{self.file.path} holds landmarks of {len(self.found)} frames, and its clip more."
            )
        height, width = self.file.size
        return self.found[number] * [picture.shape[1] / width, picture.shape[0] / height]


def given_files(folder: Path | None, media: Iterable[Path]) -> list[Path]:
    """List the files in a folder of landmarks that belong to some clips or pictures."""
    if folder is None:
        return []
    paths = (landmark_path(folder, each) for each in media)
    return [path for path in paths if path is not None]


class CachedLandmarks:
    """Landmark detector that caches its results of the last arrays of frames, by their identity.

    Several metrics ask for the same arrays, which nobody changes.
    """

    def __init__(self, landmarks: Landmarks, capacity: int = 4) -> None:
        self.landmarks = landmarks
        self.capacity = capacity
        self.found: OrderedDict[int, tuple[Pictures, np.ndarray]] = OrderedDict()

    def __call__(self, frames: Pictures) -> np.ndarray:
        if id(frames) not in self.found:
            self.found[id(frames)] = (frames, self.landmarks(frames))  # held: its id stays its own
        self.found.move_to_end(id(frames))
        if len(self.found) > self.capacity:
            self.found.popitem(last=False)
        return self.found[id(frames)][1]


def has_face(landmarks: np.ndarray) -> np.ndarray:
    """Tell which of the landmarks (N, 68, 2) are those of a face: (N,) bool."""
    return ~np.isnan(landmarks).any(axis=(1, 2))


class KeypointDistance:
    """Distance of the landmarks of the real and the generated face, in pixels at 256.

    ``akd`` is the mean of the Euclidean distance over the points, ``akd_published`` that of the
    absolute difference over their coordinates; ``mkr`` is 1 where only the real frame has a face
    and 0 where both have one, so that its mean is the missing keypoint rate.
    """

    def __init__(self, landmarks: Landmarks) -> None:
        self.landmarks = landmarks

    def __call__(self, frames: Frames) -> Measured:
        real, generated = self.landmarks(frames.real), self.landmarks(frames.generated)
        difference = (generated - real) * (SIZE / frames.real.shape[1])  # (B, 68, 2)
        in_real, in_generated = has_face(real), has_face(generated)
        values = {
            "akd": np.linalg.norm(difference, axis=2).mean(axis=1).astype(np.float64),
            "akd_published": np.abs(difference).mean(axis=(1, 2)).astype(np.float64),
            "mkr": np.where(in_real, ~in_generated, np.nan),
        }
        reasons = np.select([~in_real, ~in_generated], [NO_REAL_FACE, NO_FACE], default="")
        return Measured(values, reasons.tolist())
