import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.transform import SimilarityTransform

from evaluation.metrics.identity import (
    FACE_POINTS,
    ArcFaceEmbedder,
    IdentityDistance,
    IdentitySimilarity,
    OpenFaceEmbedder,
    align,
)
from evaluation.metrics.interface import Frames, Unavailable
from evaluation.metrics.openface import OpenFace
from utils.errors import InputError


def random_frames(count: int, height: int = 120, width: int = 120) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def landmarks_at(points: np.ndarray) -> np.ndarray:
    """Landmarks whose eyes, nose and corners of the mouth are at five points."""
    landmarks = np.zeros((68, 2))
    landmarks[36:42] = points[0] + np.array([[-6, 0], [-3, -2], [3, -2], [6, 0], [3, 2], [-3, 2]])
    landmarks[42:48] = points[1] + np.array([[-6, 0], [-3, -2], [3, -2], [6, 0], [3, 2], [-3, 2]])
    landmarks[[30, 48, 54]] = points[2:]
    return landmarks


UPRIGHT = landmarks_at(FACE_POINTS)
MISSING = np.full((68, 2), np.nan)


class MeanColour:
    """Embedder of a picture as its mean colour, twice as long in every second one."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray] = []

    def embed(self, frames: np.ndarray) -> np.ndarray:
        self.asked.append(frames)
        lengths = 1 + np.arange(len(frames)) % 2
        return (frames.mean(axis=(1, 2)) * lengths[:, None]).astype(np.float32)


def test_openface_sees_the_whole_picture_resized_without_aliasing_in_bgr(tmp_path, monkeypatch):
    monkeypatch.setattr(OpenFace, "load", lambda path: torch.nn.Flatten())  # embeds what it sees
    (tmp_path / "openface.pth").write_bytes(b"weights")
    embedder = OpenFaceEmbedder(tmp_path / "openface.pth", "cpu")
    frames = random_frames(2, height=256, width=200)
    seen = embedder.embed(frames).reshape(2, 3, 96, 96).transpose(0, 2, 3, 1)[..., ::-1] * 255
    for frame, image in zip(frames, seen, strict=True):
        resized = Image.fromarray(frame).resize((96, 96), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(image, np.asarray(resized), atol=1)  # Pillow rounds


def test_identity_distance_is_euclidean_and_squared_as_published():
    frames = np.zeros((2, 8, 9, 3), np.uint8)
    real, generated = frames + np.uint8([1, 2, 3]), frames + np.uint8([1, 5, 7])
    values, missing = IdentityDistance(MeanColour())(Frames(None, real, generated))
    assert values["aed"] == pytest.approx([5, 10])
    assert values["aed_published"] == pytest.approx([25, 100])
    assert missing == ["", ""]
    values, _ = IdentityDistance(MeanColour())(Frames(None, real, real))
    assert values["aed_published"].tolist() == [0, 0]


def test_a_face_in_the_place_of_the_template_is_not_changed():
    (frame,) = random_frames(1)
    np.testing.assert_array_equal(align(frame, UPRIGHT)[:112, :112], frame[:112, :112])


def test_a_turned_and_smaller_face_comes_to_lie_upright():
    turned = SimilarityTransform(scale=0.3, rotation=0.4, translation=(20, 5))
    landmarks = turned(UPRIGHT)
    y, x = np.mgrid[:64, :64]
    frame = np.stack([4 * x, 4 * y, 0 * x], axis=-1).astype(np.uint8)  # says where it is from
    face = align(frame, landmarks)
    for column, row in ((70, 50), (41, 92), (33, 60)):
        place = turned((column, row))[0]
        np.testing.assert_allclose(face[row, column, :2], 4 * place, atol=0.51)
    assert (align(frame, landmarks + 300) == 0).all()  # beyond the frame


def test_identity_similarity_is_the_cosine_of_the_aligned_faces():
    source = np.full((1, 120, 120, 3), (200, 0, 0), np.uint8)
    generated = np.stack(
        [np.full((120, 120, 3), c, np.uint8) for c in ((7, 0, 0), (9, 9, 0), (0, 0, 30))]
    )
    metric = IdentitySimilarity(lambda frames: np.stack([UPRIGHT] * len(frames)), MeanColour())
    values, missing = metric(Frames(source, generated, generated))
    assert values["csim"] == pytest.approx([1, np.sqrt(0.5), 0])
    assert missing == ["", "", ""]


def test_one_source_is_embedded_once_and_many_are_compared_each_with_its_own():
    embedder = MeanColour()
    metric = IdentitySimilarity(lambda frames: np.stack([UPRIGHT] * len(frames)), embedder)
    frames = random_frames(3)
    source = frames[:1]
    first = metric(Frames(source, frames, frames)).values["csim"]
    second = metric(Frames(source, frames, frames[::-1])).values["csim"]
    assert [len(asked) for asked in embedder.asked] == [1, 3, 3]
    np.testing.assert_allclose(first, second[::-1])
    assert first[0] == pytest.approx(1)
    each = metric(Frames(frames.copy(), frames, frames)).values["csim"]
    assert each == pytest.approx([1, 1, 1])


def test_a_missing_face_of_the_source_or_the_result_is_said():
    def landmarks(frames: np.ndarray) -> np.ndarray:  # no face in black frames
        return np.stack([UPRIGHT if frame.any() else MISSING for frame in frames])

    metric = IdentitySimilarity(landmarks, MeanColour())
    frames = random_frames(3)
    frames[1] = 0
    values, missing = metric(Frames(frames[:1], frames, frames))
    assert np.isnan(values["csim"]).tolist() == [False, True, False]
    assert missing == ["", "no face in the result", ""]
    values, missing = metric(Frames(frames[1:2], frames, frames))
    assert np.isnan(values["csim"]).all()
    assert missing == ["no face in the source"] * 3
    values, missing = metric(Frames(frames, frames, frames[[0, 2, 1]]))
    assert missing == ["", "no face in the source", "no face in the result"]


def save_onnx(path, shape: list) -> None:
    """A network that averages each channel over the left half of a picture."""
    onnx = pytest.importorskip("onnx", reason="onnx makes the networks of this test")
    pytest.importorskip("onnxruntime", reason="onnxruntime runs the networks of this test")
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    half = np.zeros((1, 1, *(shape[2:] if isinstance(shape[2], int) else (112, 112))), np.float32)
    half[..., : half.shape[-1] // 2] = 2
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "half"], ["masked"]),
            helper.make_node("GlobalAveragePool", ["masked"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["y"]),
        ],
        "means",
        [helper.make_tensor_value_info("x", number, shape)],
        [helper.make_tensor_value_info("y", number, [shape[0], 3])],
        [onnx.numpy_helper.from_array(half, "half")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


@pytest.mark.parametrize("batch", ["batch", None, 1])
def test_arcface_takes_faces_in_rgb_from_minus_one_to_one(tmp_path, batch):
    save_onnx(tmp_path / "arcface.onnx", [batch, 3, 112, 112])
    embedder = ArcFaceEmbedder(tmp_path / "arcface.onnx", "cpu")
    faces = random_frames(3, 112, 112)
    expected = (faces[:, :, :56].mean(axis=(1, 2)) - 127.5) / 127.5
    np.testing.assert_allclose(embedder.embed(faces), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [[1, 3, 128, 128], [4, 3, 112, 112], ["n", 112, 112, 3]])
def test_a_network_of_other_faces_is_refused_in_a_sentence(tmp_path, shape):
    save_onnx(tmp_path / "other.onnx", shape)
    with pytest.raises(InputError, match=r"takes .*: give an ArcFace network .*3, 112, 112"):
        ArcFaceEmbedder(tmp_path / "other.onnx", "cpu")


def test_a_file_that_is_no_network_is_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not here to refuse it")
    (tmp_path / "arcface.onnx").write_bytes(b"not a network")
    for name in ("arcface.onnx", "missing.onnx"):
        with pytest.raises(InputError, match=rf"{name} is not a readable ONNX network"):
            ArcFaceEmbedder(tmp_path / name, "cpu")


def test_without_onnxruntime_arcface_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match="pip install onnxruntime"):
        ArcFaceEmbedder(tmp_path / "arcface.onnx", "cpu")


def test_a_cuda_device_is_used_where_onnxruntime_has_it(tmp_path, monkeypatch):
    asked = []

    def session(path, providers):
        asked.append(providers)
        return SimpleNamespace(get_inputs=lambda: [SimpleNamespace(shape=["n", 3, 112, 112])])

    available = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    package = SimpleNamespace(
        InferenceSession=session, get_available_providers=lambda: list(available)
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", package)
    (tmp_path / "arcface.onnx").touch()
    ArcFaceEmbedder(tmp_path / "arcface.onnx", "cuda:0")
    ArcFaceEmbedder(tmp_path / "arcface.onnx", "cpu")
    available.remove("CUDAExecutionProvider")
    ArcFaceEmbedder(tmp_path / "arcface.onnx", "cuda:0")
    cpu = ["CPUExecutionProvider"]
    assert asked == [["CUDAExecutionProvider", *cpu], cpu, cpu]
