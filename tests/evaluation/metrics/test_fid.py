import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from evaluation.metrics import fid
from evaluation.metrics.fid import BLOCK, CHUNK, InceptionFeatures, frechet_distance
from evaluation.metrics.interface import Unavailable

FILE = "weights-inception-2015-12-05-6726825d.pth"


def random_features(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    """Correlated features, whose mean is not zero."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(count, width)) @ random.normal(size=(width, width))
    return (mixed + random.normal(size=width)).astype(np.float32)


def direct_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Compute the formula with the square root of the matrix itself."""
    real, generated = real.astype(float), generated.astype(float)
    of_real, of_generated = np.cov(real.T), np.cov(generated.T)
    means = np.square(real.mean(axis=0) - generated.mean(axis=0)).sum()
    root = np.real(sqrtm(of_real @ of_generated))
    return float(means + np.trace(of_real + of_generated - 2 * root))


def test_the_distance_follows_its_formula():
    real, generated = random_features(70), random_features(50, seed=1)
    found = frechet_distance([(real, generated)])
    assert found == pytest.approx(direct_distance(real, generated), rel=1e-9)
    assert found > 1


def test_equal_sets_are_at_no_distance():
    for count in (200, 5):  # with fewer rows than columns the covariance is singular
        rows = random_features(count)
        assert 0 <= frechet_distance([(rows, rows)]) < 1e-5


def test_moved_features_are_at_the_square_of_their_distance():
    rows = random_features(100)
    assert frechet_distance([(rows, rows + np.float32(2))]) == pytest.approx(16 * 4, rel=1e-6)


def test_how_rows_are_batched_does_not_change_a_digit():
    real = random_features(2 * BLOCK + 100)
    generated = random_features(2 * BLOCK + 60, seed=1)
    whole = frechet_distance([(real, generated)])
    assert whole == pytest.approx(direct_distance(real, generated), rel=1e-9)
    for size in (1, 37, BLOCK, 2 * BLOCK + 80):
        starts = range(0, len(real), size)
        batches = ((real[s : s + size], generated[s : s + size]) for s in starts)
        assert frechet_distance(batches) == whole


def test_how_many_threads_there_are_does_not_change_a_digit():
    real, generated = random_features(40, 128), random_features(40, 128, seed=1)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(frechet_distance([(real, generated)]))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_batches_are_let_go_once_they_are_added_up():
    largest = 0

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for seed in range(12):
            yield random_features(300, seed=seed), random_features(300, seed=seed + 100)

    for _, rows in fid.in_blocks(batches()):
        assert len(rows) <= BLOCK
        base = rows if rows.base is None else rows.base
        largest = max(largest, len(base))
    assert largest < BLOCK + 300


@pytest.mark.parametrize(("real", "generated"), [(0, 0), (1, 5), (5, 1)])
def test_fewer_than_two_frames_have_no_distance(real, generated):
    batches = [(random_features(real), random_features(generated))]
    with pytest.raises(Unavailable, match=f"{real} real and {generated} generated"):
        frechet_distance(batches)
    with pytest.raises(Unavailable, match="0 real and 0 generated"):
        frechet_distance([])


@pytest.fixture(scope="module")
def inception(tmp_path_factory) -> Iterator[InceptionFeatures]:
    """The network with random weights, loaded from a file of the real name in a torch hub."""
    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "load_state_dict", lambda self, state: None)
        patch.setattr(
            "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
            lambda *args, **options: {},
        )
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    state = {
        name: nn.init.kaiming_normal_(tensor) if tensor.ndim == 4 else tensor
        for name, tensor in network.state_dict().items()
    }
    torch.save(state, folder / FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        yield InceptionFeatures()


def test_inception_features_are_those_of_torch_fidelity(inception):
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    features = inception(frames)
    assert features.shape == (3, 2048)
    assert features.dtype == np.float32
    assert inception.weights.name == FILE
    weights = str(inception.weights)
    theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], weights).eval()
    for frame, found in zip(frames, features, strict=True):
        (expected,) = theirs(torch.from_numpy(frame).permute(2, 0, 1)[None])
        np.testing.assert_allclose(found, expected[0], rtol=1e-3, atol=1e-5)
        assert np.abs(found).mean() > 0.01
    assert np.abs(features[0] - features[1]).mean() > 0.01


def test_features_of_more_frames_than_go_through_at_once_keep_their_order(inception, monkeypatch):
    frames = np.random.default_rng(0).integers(0, 256, (CHUNK + 1, 8, 9, 3), dtype=np.uint8)
    monkeypatch.setattr(inception, "network", lambda x: (x.float().mean((1, 2, 3))[:, None],))
    expected = frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(inception(frames)[:, 0], expected, rtol=1e-5)


def test_weights_that_cannot_be_downloaded_are_named_with_their_place(tmp_path, monkeypatch):
    def download(*args, **options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(Unavailable, match="no network") as caught:
        InceptionFeatures()
    assert str(caught.value).endswith(f"to {Path(tmp_path, 'hub', 'checkpoints', FILE)}.")


def test_a_missing_package_makes_it_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(Unavailable, match="pip install torch-fidelity"):
        InceptionFeatures()
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(Unavailable, match="pip install torchmetrics"):
        frechet_distance([])
