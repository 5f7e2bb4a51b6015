"""Export of the fused network to ONNX: three graphs, which other runtimes compute.

    encode    source -> all that depends on the source alone, once
    detect    image -> its keypoints
    render    source, the outputs of encode, keypoints -> frame

The outputs of encode have the names of the inputs of render, so that an embedder passes them on.
All graphs are of batch one and of one size, of opset 18: from 20 on GridSample, with which features
are warped, is missing in the WebGPU runtime of browsers.  Weights may be float16; all is computed
in float32.  A linear system cannot be exported: where there are landmarks, render takes the
coefficients of the spline through them as an input (``modules.thin_plate_spline.fit_landmarks``).

An exporter can make graphs that run and are wrong, without a warning: ``animation.graph_check``
compares them with torch.  H x W pixels.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from inference.fused_network import FusedEncoded, FusedMCNet, fuse
from inference.ops import PORTABLE
from modules.geometry import Keypoints
from modules.mcnet import MCNet
from modules.thin_plate_spline import fit_landmarks
from utils.errors import InputError

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
SOURCE, IMAGE, FRAME, SPLINE = "source", "image", "frame", "spline"


def require_onnx() -> None:
    """Raise InputError where a package that the export needs is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"An export to ONNX needs the package {error.name}: "
            "pip install -r requirements-export.txt."
        ) from error


class Encode(nn.Module):
    """Graph ``encode``: (1, 3, H, W) in [0, 1] to ``encoded_names``."""

    def __init__(self, network: FusedMCNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor) -> list[Tensor]:
        _, keypoints, small, pyramid = self.network.encode(source)
        return [*present_parts(keypoints), small, *pyramid]


class Detect(nn.Module):
    """Graph ``detect``: (1, 3, H, W) in [0, 1] to positions, jacobians and landmarks."""

    def __init__(self, network: FusedMCNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> list[Tensor]:
        return present_parts(self.network.detect(image))


class Render(nn.Module):
    """Graph ``render``: a source, its ``encoded_names``, keypoints and a spline to a frame."""

    def __init__(self, network: FusedMCNet) -> None:
        super().__init__()
        self.network = network
        self.num_parts = len(keypoint_names(network))

    def forward(self, source: Tensor, encoded: list[Tensor], driving: list[Tensor]) -> Tensor:
        num = self.num_parts
        small, *pyramid = encoded[num:]
        features = FusedEncoded(source, as_keypoints(encoded[:num]), small, pyramid)
        spline = driving[num] if len(driving) > num else None
        return self.network.compute(features, as_keypoints(driving[:num]), spline)


def present_parts(keypoints: Keypoints) -> list[Tensor]:
    """List the parts of keypoints, without the empty landmarks of a network that finds none."""
    return [part for part in keypoints if part.shape[1]]


def as_keypoints(parts: Sequence[Tensor]) -> Keypoints:
    """Make keypoints of what ``present_parts`` lists."""
    positions, jacobians, *landmarks = parts
    return Keypoints(positions, jacobians, landmarks[0] if landmarks else positions[:, :0])


def keypoint_names(network: FusedMCNet) -> list[str]:
    """Name the outputs of detect: positions, jacobians and, if there are, landmarks."""
    names = list(Keypoints._fields)
    return names if network.landmark_detector is not None else names[:2]


def encoded_names(network: FusedMCNet, encoded: FusedEncoded) -> list[str]:
    """Name the outputs of encode, which are inputs of render."""
    keypoints = [f"source_{name}" for name in keypoint_names(network)]
    return [*keypoints, "source_small", *(f"feature_{i}" for i in range(len(encoded.pyramid)))]


def export_graphs(model: MCNet, size: tuple[int, int]) -> dict[str, "ModelProto"]:
    """Export the graphs encode, detect and render of a network for frames of ``size`` (H, W)."""
    network = fuse(model, torch.float32, PORTABLE)
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoded = network.encode(image)
    keypoints = present_parts(encoded.keypoints)
    names, inner = keypoint_names(network), encoded_names(network, encoded)
    parts = [*keypoints, encoded.small, *encoded.pyramid]
    # Copies: the exporter takes one tensor at two places for one input.
    driving, driving_names = [part.clone() for part in keypoints], names
    if network.landmark_detector is not None:
        landmarks = encoded.keypoints.landmarks
        driving, driving_names = [*driving, fit_landmarks(landmarks, landmarks)], [*names, SPLINE]
    return {
        "encode": export_graph(Encode(network), (image,), [SOURCE], inner),
        "detect": export_graph(Detect(network), (image,), [IMAGE], names),
        "render": export_graph(
            Render(network), (image, parts, driving), [SOURCE, *inner, *driving_names], [FRAME]
        ),
    }


def export_graph(
    module: nn.Module,
    inputs: tuple[object, ...],
    input_names: list[str],
    output_names: list[str],
) -> "ModelProto":
    """Export one graph, without what the exporter tells about this machine."""
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=input_names,
            output_names=output_names,
            verbose=False,
        )
    assert program is not None
    graph = program.model_proto
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for part in (*graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        part.ClearField("metadata_props")
    return graph


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the exporter, whose warnings are about its own code."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def halve_weights(graph: "ModelProto", fits: Callable[[Tensor], bool]) -> None:
    """Store the weights of a graph that fit as float16, in place; they are cast to float32.

    A runtime does so once, as it loads the graph, and computes in float32 as before.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for weight in graph.graph.initializer:
        if weight.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(weight)
        if not fits(torch.from_numpy(values.copy())):
            continue
        name, stored = weight.name, f"{weight.name}_float16"
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
