"""Store the motion of a face as a file of kilobytes: keypoints of every frame, no pictures.

A template belongs to the detector that made it: keypoints of another network mean something else.
So it carries the fingerprint of that detector, and is refused for any other.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from torch import nn

from modules.face_landmarks import NUM_LANDMARKS
from modules.geometry import Keypoints
from modules.keypoint_detector import KeypointDetector
from modules.landmark_detector import LandmarkDetector
from utils.errors import InputError
from utils.files import require_writable, write_atomically
from utils.wording import counted

VERSION = 2  # of the file's format; 1 had neither times nor the initial frame
TICK = Fraction(1, 5_760_000)  # seconds, in which times are written: exact for all common rates
SUFFIX = ".npz"

Arrays = Mapping[str, np.ndarray]


class MotionTemplate(NamedTuple):
    """Keypoints of T frames, with their times and the detector that found them."""

    keypoints: Keypoints  # (T, K, ...), float32 on the host
    rate: Fraction  # frames per second; the average where it varied
    size: tuple[int, int]  # height and width of the frames that the detector saw
    detector: str  # its fingerprint
    times: tuple[Fraction, ...] | None = None  # seconds from the first; None: where the rate says
    initial: int = 0  # the frame that relative motion starts from

    def require_maker(self, detector: str, size: tuple[int, int], path: Path) -> None:
        """Raise InputError unless the detector made it, at this shape of frames (H, W)."""
        if self.detector != detector:
            raise InputError(
                f"{path} was made by the keypoint detector of another network, whose keypoints "
                "mean something else: make it again with --save-motion and this --checkpoint."
            )
        (height, width), (own_height, own_width) = self.size, size
        if height * own_width != width * own_height:
            raise InputError(
                f"{path} was made of frames of {width} x {height} pixels, and the network's of "
                f"{own_width} x {own_height} have another shape: make it again with --save-motion."
            )


def fingerprint(
    detector: KeypointDetector, landmark_detector: LandmarkDetector | None = None
) -> str:
    """Hash all that decides which keypoints, and landmarks if any, detectors find.

    Weights are hashed in half precision, so that exported ones have the fingerprint of those that
    they were rounded from.
    """
    digest = hashlib.sha256(f"{detector.temperature} {detector.downsample.factor}".encode())
    digest.update(weights(detector))
    if landmark_detector is not None:
        digest.update(f"landmarks {landmark_detector.config}".encode())
        digest.update(weights(landmark_detector))
    return digest.hexdigest()[:32]


def weights(network: nn.Module) -> bytes:
    """Serialize the names, shapes and values of a network's weights, in half precision."""
    parts = []
    for name, tensor in sorted(network.state_dict().items()):
        if tensor.is_floating_point():  # not the batches that a norm has counted
            parts.append(f"{name} {tuple(tensor.shape)}".encode())
            parts.append(tensor.half().cpu().contiguous().numpy().tobytes())
    return b"".join(parts)


def require_template_name(path: Path) -> None:
    """Raise InputError where no template can be written to ``path``."""
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"Motion templates are written as NAME{SUFFIX}: found {path}.")
    require_writable(path)


def save_template(path: Path, template: MotionTemplate) -> None:
    """Write the keypoints (T, K, ...) of a template to a compressed .npz, all of it or nothing.

    Raises InputError where it could not be read again, for example for keypoints that are not
    finite.
    """
    require_template_name(path)
    arrays = {
        "version": np.array(VERSION),
        "positions": template.keypoints.positions.cpu().numpy(),
        "jacobians": template.keypoints.jacobians.cpu().numpy(),
        "landmarks": template.keypoints.landmarks.cpu().numpy(),
        "rate": np.array(template.rate.as_integer_ratio()),
        "size": np.array(template.size),
        "detector": np.array(template.detector),
        "times": np.array([round(time / TICK) for time in template.times or ()], np.int64),
        "initial": np.array(template.initial),
    }
    if fault := next(faults(arrays), None):
        raise InputError(f"{path} was not written: {fault}.")
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    write_atomically(path, file.getvalue())


def load_template(path: Path) -> MotionTemplate:
    """Load a template, keypoints (T, K, ...).  Raises InputError where it cannot be used."""
    arrays = read_arrays(path)
    version = arrays.get("version", np.array(VERSION))
    if version.dtype.kind == "i" and (version > VERSION).any():
        raise InputError(
            f"{path} is a motion template of format {version}, and this version of the project "
            f"reads format {VERSION}: update the project."
        )
    if np.array_equal(version, 1):
        new = {"times": np.array([], np.int64), "initial": np.array(0)}
        arrays = new | arrays | {"version": np.array(VERSION)}
    if fault := next(faults(arrays), None):
        raise InputError(f"{path} is not a motion template that can be used: {fault}.")
    arrays.setdefault("landmarks", arrays["positions"][:, :0])  # of a network without them
    parts = (torch.from_numpy(arrays[name].astype(np.float32)) for name in Keypoints._fields)
    numerator, denominator = map(int, arrays["rate"])
    height, width = map(int, arrays["size"])
    return MotionTemplate(
        Keypoints(*parts),
        Fraction(numerator, denominator),
        (height, width),
        str(arrays["detector"]),
        tuple(int(time) * TICK for time in arrays["times"]) or None,
        int(arrays["initial"]),
    )


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a .npz, such as positions (T, K, 2); nothing in it can run code."""
    try:
        with open(path, "rb") as file:
            opened: Any = np.load(file, allow_pickle=False)
            if not isinstance(opened, NpzFile):
                raise ValueError("it holds a single array")
            return {name: opened[name] for name in opened.files}
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a damaged archive fails in any way
        raise InputError(f"{path} is not a readable motion template ({SUFFIX}).") from error


def faults(arrays: Arrays) -> Iterator[str]:
    """Describe why arrays are no template, as clauses; later ones assume that the first holds."""
    names = ("version", "positions", "jacobians", "rate", "size", "detector", "times", "initial")
    if missing := [name for name in names if name not in arrays]:
        yield f"it has no {' and no '.join(missing)}"
    if not np.array_equal(arrays["version"], VERSION):
        yield f"its version is not {VERSION}"
    positions, jacobians, rate, size = (
        arrays[name] for name in ("positions", "jacobians", "rate", "size")
    )
    if positions.ndim != 3 or positions.shape[2] != 2:
        yield f"its positions are of shape {positions.shape}, not (frames, keypoints, 2)"
    if jacobians.shape != (*positions.shape, 2):
        yield f"its jacobians are of shape {jacobians.shape}, not {(*positions.shape, 2)}"
    if 0 in positions.shape:
        num_frames, num_kp, _ = positions.shape
        yield f"it has {counted(num_frames, 'frame')} of {counted(num_kp, 'keypoint')}"
    if {positions.dtype.kind, jacobians.dtype.kind} != {"f"}:
        yield f"its keypoints are of type {positions.dtype} and {jacobians.dtype}, not float32"
    for name, part in (("positions", positions), ("jacobians", jacobians)):
        if not (np.abs(part) <= np.finfo(np.float32).max).all():
            yield f"its {name} are not all finite"
    yield from landmark_faults(arrays.get("landmarks", positions[:, :0]), len(positions))
    flat = np.linalg.det(jacobians.astype(np.float64)) == 0
    if flat.any():
        yield f"the jacobians of frame {flat.any(axis=1).argmax()} cannot be inverted"
    for name, pair in (("rate", rate), ("size", size)):
        if pair.shape != (2,) or pair.dtype.kind != "i" or (pair < 1).any():
            yield f"its {name} is not two positive integers"
    if arrays["detector"].shape != () or arrays["detector"].dtype.kind != "U":
        yield "its detector is not a text"
    yield from timing_faults(arrays["times"], arrays["initial"], len(positions))


def timing_faults(times: np.ndarray, initial: np.ndarray, num_frames: int) -> Iterator[str]:
    """Describe why times (T,), or the initial frame, are not those of a template."""
    if times.dtype.kind != "i" or times.shape not in ((0,), (num_frames,)):
        yield f"its times are not whole numbers, one for each of {num_frames} frames"
    if times.any() and (times[0] != 0 or (np.diff(times) <= 0).any()):
        yield "its times do not increase from 0"
    if initial.shape != () or initial.dtype.kind != "i" or not 0 <= initial < num_frames:
        yield "its initial frame is out of range"


def landmark_faults(landmarks: np.ndarray, num_frames: int) -> Iterator[str]:
    """Describe why an array is not the landmarks of frames, (T, 68, 2) or (T, 0, 2)."""
    if landmarks.shape not in [(num_frames, count, 2) for count in (0, NUM_LANDMARKS)]:
        yield (
            f"its landmarks are of shape {landmarks.shape}, not ({num_frames}, {NUM_LANDMARKS}, 2)"
        )
    if landmarks.dtype.kind != "f":
        yield f"its landmarks are of type {landmarks.dtype}, not float32"
    if not (np.abs(landmarks) <= np.finfo(np.float32).max).all():
        yield "its landmarks are not all finite"
