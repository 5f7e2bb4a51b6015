"""AED and CSIM: distance and similarity of identities, by networks that tell people apart.

AED compares whole pictures by OpenFace, as the published tables do; CSIM compares aligned faces by
an ArcFace network (Deng et al. 2019). The user gives the weights of either.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from skimage.transform import estimate_transform, warp

from evaluation.metrics import openface
from evaluation.metrics.interface import Frames, Measured, Unavailable
from evaluation.metrics.landmarks import NO_FACE, has_face
from faces.landmarks import Landmarks
from media.pictures import unit_range
from utils.errors import InputError

FACE_SIZE = 112  # side of an aligned face
FACE_POINTS = np.array(  # (x, y) in it of the eyes, the tip of the nose, the corners of the mouth
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)


class Embedder(Protocol):
    """Network that embeds pictures (N, H, W, 3) uint8, RGB, as vectors (N, D) of identity."""

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """Embed pictures (N, H, W, 3) uint8 as vectors (N, D)."""
        ...


class OpenFaceEmbedder:
    """OpenFace on whole pictures, in which it does not look for the face."""

    def __init__(self, path: str | Path, device: str | torch.device) -> None:
        """Load the weights; raises InputError where ``path`` does not hold them."""
        self.network = openface.OpenFace.load(path).to(device)
        self.device = device

    @torch.inference_mode()
    def embed(self, frames: np.ndarray) -> np.ndarray:
        """Embed pictures (N, H, W, 3) of any size as vectors (N, 128) of length 1."""
        images = unit_range(frames, self.device)
        size = (openface.SIZE, openface.SIZE)
        images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        return self.network(images.flip(1)).cpu().numpy()  # RGB to BGR


class ArcFaceEmbedder:
    """ArcFace network in an ONNX file, as insightface makes them, on aligned faces.

    It takes RGB in [-1, 1], (N, 3, 112, 112), where N may be any number or 1.
    """

    def __init__(self, path: str | Path, device: str | torch.device = "cpu") -> None:
        """Load the file; raises Unavailable without onnxruntime, InputError for another file."""
        try:
            import onnxruntime
        except ImportError as error:
            raise Unavailable(f"{error}: pip install onnxruntime.") from error
        providers = ["CPUExecutionProvider"]
        if str(device).startswith("cuda"):
            providers.insert(0, "CUDAExecutionProvider")
        available = onnxruntime.get_available_providers()
        try:
            self.session: Any = onnxruntime.InferenceSession(
                str(path), providers=[name for name in providers if name in available]
            )
        except Exception as error:  # they have no common base
            raise InputError(f"{path} is not a readable ONNX network.") from error
        shapes = [value.shape for value in self.session.get_inputs()]
        batch = shapes[0][0]  # a number, or where it may be any a name or None
        self.one_by_one = batch == 1
        if shapes != [[batch, 3, FACE_SIZE, FACE_SIZE]] or (
            isinstance(batch, int) and not self.one_by_one
        ):
            raise InputError(
                f"The network {path} takes {shapes}: give an ArcFace network that takes faces of "
                f"(N, 3, {FACE_SIZE}, {FACE_SIZE}), where N may be any number or 1."
            )

    def embed(self, frames: np.ndarray) -> np.ndarray:
        """Embed aligned faces (N, 112, 112, 3) as vectors (N, D)."""
        images = (frames.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
        name = self.session.get_inputs()[0].name
        batches = np.split(images, len(images)) if self.one_by_one else [images]
        return np.concatenate([self.session.run(None, {name: batch})[0] for batch in batches])


class IdentityDistance:
    """AED: Euclidean distance of the vectors of the real and the generated frame.

    ``aed_published`` is its square.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, frames: Frames) -> Measured:
        real, generated = map(self.embedder.embed, (frames.real, frames.generated))
        squares = np.square(generated.astype(np.float64) - real).sum(axis=1)
        return Measured({"aed": np.sqrt(squares), "aed_published": squares}, [""] * len(real))


class IdentitySimilarity:
    """CSIM: cosine between the vectors of the source's face and the generated one."""

    def __init__(self, landmarks: Landmarks, embedder: Embedder) -> None:
        self.landmarks = landmarks
        self.embedder = embedder
        self.source: tuple[np.ndarray, np.ndarray] | None = None  # the last one, and its vectors

    def __call__(self, frames: Frames) -> Measured:
        assert frames.source is not None
        if self.source is None or not np.array_equal(self.source[0], frames.source):
            self.source = (frames.source, self.embed_faces(frames.source))
        source, generated = self.source[1], self.embed_faces(frames.generated)
        cosines = (source * generated).sum(axis=1)  # (B,)
        reasons = np.select(
            [np.isnan(source).any(axis=1), np.isnan(generated).any(axis=1)],
            ["no face in the source", NO_FACE],
            default="",
        )
        return Measured({"csim": cosines}, reasons.tolist())

    def embed_faces(self, frames: np.ndarray) -> np.ndarray:
        """Embed the faces in frames as vectors (N, D) of length 1, NaN where there is none."""
        landmarks = self.landmarks(frames)
        found = has_face(landmarks)
        if not found.any():
            return np.full((len(frames), 1), np.nan)
        faces = [align(*face) for face in zip(frames[found], landmarks[found], strict=True)]
        vectors = self.embedder.embed(np.stack(faces)).astype(np.float64)
        embedded = np.full((len(frames), vectors.shape[1]), np.nan)
        embedded[found] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return embedded


def align(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Scale and turn the face of a frame so that its points come to lie at ``FACE_POINTS``.

    (H, W, 3) uint8 with landmarks (68, 2) -> (112, 112, 3) uint8, black beyond the frame.
    """
    eyes = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
    points = np.stack([*eyes, landmarks[30], landmarks[48], landmarks[54]])
    to_frame = estimate_transform("similarity", FACE_POINTS, points)
    face = warp(frame, to_frame, output_shape=(FACE_SIZE, FACE_SIZE), order=1, preserve_range=True)
    return face.round().astype(np.uint8)
