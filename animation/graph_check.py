"""Compare exported graphs with torch, on a real face.

A graph that an exporter made may run and be wrong.  So each is run by onnxruntime on the portrait
that comes with scikit-image, cropped as the training frames were, and on copies of it; what it
gives is compared with the network as it was trained, in float64, whose own rounding is negligible.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from animation.bundled import driving_path, motion_names
from animation.motion_template import fingerprint, load_template
from animation.motion_transfer import RelativeMotion, frames_of
from faces.crop import PUBLISHED, FaceCrop, FaceCropConfig
from faces.main_face import main_face
from inference.onnx_graphs import FRAME, IMAGE, SOURCE, SPLINE, as_keypoints, present_parts
from media.pictures import Picture, unit_range
from modules.geometry import Keypoints
from modules.mcnet import MCNet
from modules.thin_plate_spline import fit_landmarks

if TYPE_CHECKING:
    from onnx import ModelProto

TURN = 10  # degrees, of a copy of the portrait

Arrays = dict[str, np.ndarray]


class Graphs:
    """Exported graphs, run by onnxruntime on the CPU.  Arrays are float32, batches of one."""

    def __init__(self, graphs: Mapping[str, "ModelProto"]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # errors
        self.sessions: dict[str, Any] = {
            name: onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            for name, graph in graphs.items()
        }

    def encode(self, source: Tensor) -> Arrays:
        """Encode a source (1, 3, H, W) in [0, 1]: the inputs of render that depend on it."""
        return self.run("encode", {SOURCE: source.numpy()}) | {SOURCE: source.numpy()}

    def detect(self, image: Tensor) -> Keypoints:
        """Detect the keypoints of (1, 3, H, W) in [0, 1]."""
        return keypoints_in(self.run("detect", {IMAGE: image.numpy()}))

    def render(self, encoded: Arrays, driving: Keypoints) -> np.ndarray:
        """Move an encoded source to driving keypoints (1, K, ...): (1, 3, H, W) in [0, 1]."""
        feeds = dict(
            zip(Keypoints._fields, (part.numpy() for part in present_parts(driving)), strict=False)
        )
        if driving.landmarks.shape[1]:
            landmarks = torch.from_numpy(encoded["source_landmarks"])
            feeds[SPLINE] = fit_landmarks(landmarks, driving.landmarks).numpy()
        return self.run("render", encoded | feeds)[FRAME]

    def run(self, name: str, feeds: Arrays) -> Arrays:
        """Run one graph: its outputs by name."""
        session = self.sessions[name]
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))


def keypoints_in(arrays: Arrays) -> Keypoints:
    """Take the keypoints (1, K, ...) among the outputs of a graph."""
    names = [name for name in arrays if name.removeprefix("source_") in Keypoints._fields]
    return as_keypoints([torch.from_numpy(arrays[name]) for name in names])


class Reference:
    """Pictures, and what a network gives for them in float64."""

    @torch.no_grad()
    def __init__(
        self, model: MCNet, size: tuple[int, int], face_crop: FaceCropConfig | None
    ) -> None:
        """Render frames of ``size`` (H, W) in pixels, in absolute and in relative motion.

        Without a ``face_crop`` faces are cropped as for published networks.
        """
        exact = deepcopy(model).double().eval()
        self.source, *self.images = pictures(size, face_crop or PUBLISHED)
        encoded = exact.encode(self.source.double())
        self.source_keypoints = encoded.keypoints
        self.detected = [exact.detect(image.double()) for image in self.images]
        source, initial, *others = map(rounded, [encoded.keypoints, *self.detected])
        relative = map(RelativeMotion(source, initial), others)
        self.driving = [*relative, *bundled_motions(model, source)]
        self.frames = [
            exact.render(encoded, Keypoints(*(part.double() for part in driving))).prediction
            for driving in [*self.detected, *self.driving]
        ]

    def largest_differences(self, graphs: Graphs) -> dict[str, float]:
        """Compare what graphs give with what the network gave.

        Returns the largest difference of positions and landmarks in [-1, 1], of jacobians (relative
        to the largest of them, if that is above 1) and of frames in [0, 1].
        """
        encoded = graphs.encode(self.source)
        detected = [graphs.detect(image) for image in self.images]
        keypoints = [keypoints_in(encoded), *detected]
        frames = (graphs.render(encoded, driving) for driving in [*detected, *self.driving])
        differences = [
            *map(keypoint_differences, keypoints, [self.source_keypoints, *self.detected]),
            *({"frames": difference(*pair)} for pair in zip(frames, self.frames, strict=True)),
        ]
        names = {name: None for each in differences for name in each}
        return {
            name: float(np.max([each[name] for each in differences if name in each]))
            for name in names
        }


def rounded(keypoints: Keypoints) -> Keypoints:
    """Round keypoints (1, K, ...) to float32."""
    return Keypoints(*(part.float() for part in keypoints))


def pictures(size: tuple[int, int], face_crop: FaceCropConfig) -> Iterator[Tensor]:
    """Yield a portrait and two copies of it, mirrored and turned: (1, 3, H, W) in [0, 1]."""
    from skimage import data

    picture: Picture = data.astronaut()
    face = main_face(picture)
    assert face is not None
    portrait = Image.fromarray(FaceCrop.around(face, face_crop, size).frame(picture))
    mirrored = portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = portrait.rotate(TURN, Image.Resampling.BICUBIC)
    for image in (portrait, mirrored, turned):
        yield unit_range(torch.from_numpy(np.array(image)[None]))


def bundled_motions(model: MCNet, source: Keypoints) -> Iterator[Keypoints]:
    """Yield keypoints (1, K, ...) of the bundled motions, if they are of this network's detector.

    One frame of each, in absolute motion and in relative motion of the source (1, K, ...).
    """
    detector = fingerprint(model.detector, model.landmark_detector)
    for name in motion_names():
        template = load_template(driving_path(name))
        if template.detector != detector:
            continue
        middle = len(template.keypoints.positions) // 2
        driving = frames_of(template.keypoints, slice(middle, middle + 1))
        initial = frames_of(template.keypoints, slice(1))
        yield driving
        yield RelativeMotion(source, initial)(driving)


def keypoint_differences(one: Keypoints, other: Keypoints) -> dict[str, float]:
    """Find the largest difference of each part of two keypoints (1, K, ...), by its name."""
    differences = {}
    for name, part, expected in zip(Keypoints._fields, one, other, strict=True):
        if part.shape[1]:
            scale = max(1.0, expected.abs().max().item()) if name == "jacobians" else 1.0
            differences[name] = difference(part.numpy(), expected) / scale
    return differences


def difference(found: np.ndarray, expected: Tensor) -> float:
    """Find the largest difference of two arrays of any shape; NaN where a value is."""
    return float(np.abs(found - expected.numpy()).max())
