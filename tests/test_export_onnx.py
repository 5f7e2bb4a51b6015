"""Graphs for other runtimes: onnxruntime and a browser give the frames of PyTorch."""

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from filelock import FileLock

from animation.animator import Animator
from animation.bundled import WEIGHTS
from animation.graph_check import pictures
from animation.motion_transfer import transfer_motion
from config import load_config, to_settings
from export import MAX_DIFFERENCES, report
from faces.crop import PUBLISHED
from modules import blocks
from modules.checkpoints import read_config, save_weights
from modules.geometry import Keypoints
from modules.mcnet import MCNet
from run import main
from tests.chromium import chromium, npm_package
from tests.inference.test_fused_network import lively_model
from tests.tiny import TINY, TINY_LANDMARKS
from tests.tiny_run import write_config
from utils.errors import InputError

pytest.importorskip("onnxscript", reason="pip install -r requirements-export.txt")

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "export.md").read_text()
SIZE = 64  # of tiny networks: enough for kernels of doubled maps
SMALLEST = 0.5 / 255  # half a grey level

Picture = np.ndarray
needs_weights = pytest.mark.skipif(not WEIGHTS.is_file(), reason="weights/ is not there")


def listing(language: str) -> str:
    """The first listing of a language in docs/export.md."""
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, flags=re.M | re.S)
    assert found is not None
    return found[1]


def with_landmarks() -> Any:
    """A tiny network that finds landmarks and uses them everywhere."""
    assert TINY_LANDMARKS.memory is not None
    changes = {"identity": "keypoints, landmarks and feature", "attention": "located", "levels": 1}
    return TINY_LANDMARKS.model_copy(
        update={"memory": TINY_LANDMARKS.memory.model_copy(update=changes)}
    )


def write_tiny(folder: Path, network: Any) -> Path:
    """Write a checkpoint of a tiny network of random weights."""
    secret = folder / "secret-place"
    secret.mkdir(parents=True)
    crop = "data.face_crop={aspect: 1.0, face_x: 0.5, face_y: 0.48, face_width: 0.6}"
    config = load_config(write_config(secret / "tiny.yaml", secret), [crop, f"data.size={SIZE}"])
    config = config.model_copy(update={"model": network})
    save_weights(folder / "weights.safetensors", calm(lively_model(network)), to_settings(config))
    return folder


def calm(model: MCNet) -> MCNet:
    """Let random weights find jacobians near the identity, and landmarks in the middle."""
    model.detector.jacobians.weight.data *= 0.1
    if model.landmark_detector is not None:
        model.landmark_detector.heatmaps.weight.data *= 0.5
    return model


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder of all processes that share the tests."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def exported(shared: Path, name: str, size: int) -> SimpleNamespace:
    """A network and its graphs, which are exported once."""
    folder = shared / f"onnx-{name}-{size}"
    checkpoint, graphs = WEIGHTS if name == "bundled" else folder / "network", folder / "graphs"
    with FileLock(f"{folder}.lock"):
        if not graphs.is_dir():
            if name != "bundled":
                write_tiny(checkpoint, {"tiny": TINY, "landmarks": with_landmarks()}[name])
            arguments = ["--checkpoint", checkpoint, "--output", graphs, "--size", size]
            assert main(["--mode", "export", "--format", "onnx", *map(str, arguments)]) == 0
    animator = Animator.from_checkpoint(checkpoint, size=size, device="cpu", precision="fp32")
    return SimpleNamespace(checkpoint=checkpoint, graphs=graphs, animator=animator)


def portraits(size: int) -> list[Picture]:
    """A portrait, a mirrored and a turned copy of it."""
    tensors = pictures((size, size), PUBLISHED)
    return [(255 * one[0].permute(1, 2, 0)).round().byte().numpy() for one in tensors]


def numpy(keypoints: Keypoints) -> dict[str, np.ndarray]:
    return {name: part.numpy() for name, part in keypoints._asdict().items() if part.shape[1]}


CASES = [
    pytest.param("bundled", 256, marks=needs_weights),
    pytest.param("bundled", 128, marks=needs_weights),
    ("tiny", SIZE),
    ("landmarks", SIZE),
]


@pytest.mark.parametrize(("name", "size"), CASES)
def test_onnxruntime_gives_the_frames_of_pytorch(shared, name, size):
    network = exported(shared, name, size)
    animator, source, *frames = network.animator, *portraits(size)
    page: dict[str, Any] = {}
    exec(listing("python"), page)
    graphs = page["Graphs"](network.graphs)

    encoded, own = graphs.encode(source), animator.encode(source)
    found, expected = map(graphs.detect, frames), [animator.detect([frame]) for frame in frames]
    (first, second), (initial, driving) = found, expected
    moved = transfer_motion(own.keypoints, driving, initial)
    relative = page["relative"](encoded, second, first)
    for part in ("positions", "jacobians"):
        assert relative[part] == pytest.approx(numpy(moved)[part], abs=1e-4)
    for graph_keypoints, keypoints in ((second, driving), (relative, moved)):
        if "landmarks" in relative:  # those of animate.py
            graph_keypoints["landmarks"] = numpy(animator.exaggerated(own, keypoints))["landmarks"]
        picture = graphs.render(encoded, graph_keypoints).astype(int)
        difference = np.abs(picture - animator.render(own, keypoints)[0])
        assert difference.max() <= 1
        assert difference.mean() < 0.01
        assert picture.std() > 10
    still = graphs.render(encoded, first).astype(int)
    assert np.abs(still - graphs.render(encoded, second)).mean() > 0.5  # keypoints matter


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder from this computer to itself: the address."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


HTML = """<!doctype html><title>graphs</title><link rel="icon" href="data:,">
<script type="importmap">{"imports": {"onnxruntime-web/wasm": "/runtime/ort.wasm.min.mjs"}}</script>
"""
SCRIPT = """async (pictures) => {
  const graphs = await import("/graphs.mjs");
  const [source, first, second] = pictures.map((picture) => graphs.tensor(picture));
  const encoded = await graphs.encode(source);
  const initial = await graphs.detect(first), driving = await graphs.detect(second);
  const relative = graphs.relative(encoded, driving, initial);
  const frames = [];
  for (const keypoints of [driving, relative])
    frames.push(Array.from((await graphs.render(encoded, keypoints)).data));
  const values = Object.entries(relative).map(([name, part]) => [name, Array.from(part.data)]);
  return { frames, relative: Object.fromEntries(values) };
}"""


@pytest.mark.parametrize(("name", "size"), CASES[1:])
def test_a_browser_gives_the_frames_of_pytorch(shared, tmp_path, name, size):
    runtime = npm_package("onnxruntime-web") / "dist"
    with chromium() as browser:
        network = exported(shared, name, size)
        (tmp_path / "runtime").symlink_to(runtime)
        (tmp_path / "graphs").symlink_to(network.graphs)
        (tmp_path / "graphs.mjs").write_text(listing("js"))
        (tmp_path / "index.html").write_text(HTML)
        images = portraits(size)
        rgba = [np.concatenate([one, one[..., :1]], axis=2).ravel().tolist() for one in images]
        canvases = [{"data": data, "width": size, "height": size} for data in rgba]
        with served(tmp_path) as address:
            page = browser.new_page()
            page.set_default_timeout(0)
            page.goto(f"{address}/index.html")
            found = page.evaluate(SCRIPT, canvases)

    animator, source, *frames = network.animator, *images
    own, (initial, driving) = animator.encode(source), [animator.detect([one]) for one in frames]
    moved = transfer_motion(own.keypoints, driving, initial)
    for part, values in numpy(moved).items():
        if part != "landmarks":
            assert found["relative"][part] == pytest.approx(values.ravel(), abs=1e-4)
    if own.keypoints.landmarks.shape[1]:  # which the page moves in a simpler form
        python: dict[str, Any] = {}
        exec(listing("python"), python)
        prefixed = {f"source_{key}": value for key, value in numpy(own.keypoints).items()}
        simple = python["relative"](prefixed, numpy(driving), numpy(initial))["landmarks"]
        assert found["relative"]["landmarks"] == pytest.approx(simple.ravel(), abs=1e-4)
        moved = moved._replace(landmarks=torch.from_numpy(simple))
    for values, keypoints in zip(found["frames"], (driving, moved), strict=True):
        frame = np.array(values).reshape(3, size, size)
        with torch.inference_mode():
            expected = animator.network.render(own, keypoints)[0].numpy()
        assert np.abs(frame - expected).max() < SMALLEST


def test_what_the_exporter_does_wrong_is_found_and_nothing_is_left(
    shared, tmp_path, monkeypatch, capsys
):
    def summed(kernel: torch.Tensor) -> torch.Tensor:
        """Equal in PyTorch, but the exporter ignores the divisor."""
        taps = kernel.flip(2, 3)
        return F.avg_pool2d(taps, 2, 1, 1, divisor_override=1).transpose(0, 1)

    kernel = torch.rand(3, 4, 3, 3)
    torch.testing.assert_close(summed(kernel), blocks.doubled_kernel(kernel))
    monkeypatch.setattr(blocks, "doubled_kernel", summed)
    checkpoint = write_tiny(tmp_path / "network", TINY)
    arguments = ["--format", "onnx", "--checkpoint", checkpoint, "--output", tmp_path / "graphs"]
    assert main(["--mode", "export", *map(str, arguments)]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "The exported graphs are not the network" in message
    assert "Nothing was written" in message
    assert [path.name for path in tmp_path.iterdir()] == ["network"]


def test_the_bound_is_the_same_for_every_network():
    assert MAX_DIFFERENCES["fp32"] == 1e-4
    report({"positions": 1e-6, "frames": 1e-4}, "fp32")
    for differences in ({"frames": 1.01e-4}, {"landmarks": np.nan, "frames": 1e-5}):
        with pytest.raises(InputError, match=r"0\.0001 is allowed"):
            report(differences, "fp32")


def test_halved_graphs_are_half_as_large_and_tell_what_they_are(shared, tmp_path, capsys):
    import onnx

    network = exported(shared, "landmarks", SIZE)
    arguments = ["--format", "onnx", "--precision", "fp16", "--checkpoint", network.checkpoint]
    assert main(["--mode", "export", *map(str, [*arguments, "--output", tmp_path / "half"])]) == 0
    names = ["detect.onnx", "encode.onnx", "render.onnx"]
    assert sorted(path.name for path in (tmp_path / "half").iterdir()) == names
    for name in names:
        whole, half = (onnx.load(folder / name) for folder in (network.graphs, tmp_path / "half"))
        assert weight_bytes(half) < 0.6 * weight_bytes(whole)
        assert [(each.domain, each.version) for each in half.opset_import] == [("", 18)]
        properties = {each.key: each.value for each in half.metadata_props}
        assert properties["detector"] == network.animator.detector_fingerprint
        stated = read_config(network.checkpoint)["data"]["face_crop"]
        assert json.loads(properties["face_crop"]) == stated
        config = json.loads(properties["config"])
        assert config["model"] == read_config(network.checkpoint)["model"]
        for text in (b"secret-place", str(ROOT).encode(), b".py"):
            assert text not in (tmp_path / "half" / name).read_bytes()


def weight_bytes(graph: Any) -> int:
    """Bytes of all large weights of a graph."""
    return sum(len(each.raw_data) for each in graph.graph.initializer if len(each.dims) > 1)


def test_a_mistake_is_one_sentence(tmp_path, capsys, monkeypatch):
    checkpoint = write_tiny(tmp_path / "network", TINY)

    def message(*options: object) -> str:
        arguments = ["--mode", "export", "--checkpoint", checkpoint, *options]
        assert main(list(map(str, arguments))) == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    onnx, new = ("--format", "onnx"), ("--output", tmp_path / "new")
    assert "holds files already: name a new folder" in message(*onnx, "--output", checkpoint)
    assert "cannot be a folder" in message(*onnx, "--output", checkpoint / "weights.safetensors")
    assert "multiples of 8: found 60 x 60" in message(*onnx, *new, "--size", 60)
    assert "--size is for --format onnx" in message(*new, "--size", 64)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "pip install -r requirements-export.txt" in message(*onnx, *new)
    assert not (tmp_path / "new").exists()
