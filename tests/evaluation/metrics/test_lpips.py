import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import alexnet, vgg16

from evaluation.metrics.interface import Frames, Unavailable
from evaluation.metrics.lpips import CHUNK, Lpips
from tests.evaluation.real_frames import needs_clips, real_frames

FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


@pytest.fixture(scope="module")
def random_backbones(tmp_path_factory) -> Iterator[Path]:
    """The checkpoints folder of a torch hub with random backbones under the real names.

    The classifiers, which LPIPS does not use, are one number repeated.
    """
    home = tmp_path_factory.mktemp("torch")
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    for file, network in zip(FILES.values(), (alexnet, vgg16), strict=True):
        with torch.device("meta"):
            state = network().state_dict()
        for name, tensor in state.items():
            if name.startswith("features") and name.endswith("weight"):
                state[name] = nn.init.kaiming_normal_(torch.empty(tensor.shape))
            else:
                state[name] = torch.zeros(1).expand(tensor.shape)
        torch.save(state, folder / file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(home))
        yield folder


@pytest.fixture(scope="module")
def alex(random_backbones) -> Lpips:
    return Lpips("alex")


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """The checkpoints folder of an empty torch hub that cannot download."""

    def download(*args, **options):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    return tmp_path / "hub" / "checkpoints"


def random_frames(count: int, height: int = 40, width: int = 48) -> Frames:
    random = np.random.default_rng(0)
    real, generated = random.integers(0, 256, (2, count, height, width, 3), dtype=np.uint8)
    return Frames(None, real, generated)


def by_the_original(network: str, frames: Frames, *, scaled: bool) -> np.ndarray:
    """The distances that the ``lpips`` package finds, with the backbone of the torch hub."""
    lpips = pytest.importorskip("lpips", reason="the lpips package is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it names the weights in an old way
        original = lpips.LPIPS(net=network, verbose=False)
    real, generated = (
        torch.from_numpy(images.transpose(0, 3, 1, 2)).float() / 255
        for images in (frames.real, frames.generated)
    )
    with torch.no_grad():
        return original(generated, real, normalize=scaled).flatten().numpy()


@needs_clips
def test_alexnet_agrees_with_the_original_package_on_real_frames(alex):
    frames = real_frames(2)
    values, missing = alex(frames)
    assert list(values) == ["lpips_alex", "lpips_alex_published"]
    assert missing == ["", ""]
    scaled = by_the_original("alex", frames, scaled=True)
    unscaled = by_the_original("alex", frames, scaled=False)
    np.testing.assert_allclose(values["lpips_alex"], scaled, rtol=1e-5)
    np.testing.assert_allclose(values["lpips_alex_published"], unscaled, rtol=1e-5)
    assert (np.abs(scaled / unscaled - 1) > 0.1).all()


@needs_clips
def test_vgg_agrees_with_the_original_package_on_real_frames(random_backbones):
    frames = real_frames(1)
    values = Lpips("vgg")(frames).values
    assert list(values) == ["lpips_vgg"]
    expected = by_the_original("vgg", frames, scaled=True)
    np.testing.assert_allclose(values["lpips_vgg"], expected, rtol=1e-5)


def test_equal_frames_are_at_no_distance(alex):
    real = random_frames(2).real
    for found in alex(Frames(None, real, real)).values.values():
        assert found.tolist() == [0, 0]


def test_frames_are_measured_one_by_one_and_in_order(alex):
    frames = random_frames(CHUNK + 2)
    values, missing = alex(frames)
    assert len(missing) == CHUNK + 2
    for column, found in values.items():
        assert found.dtype == np.float64
        alone = [
            alex(Frames(None, frames.real[i : i + 1], frames.generated[i : i + 1])).values[column]
            for i in range(CHUNK + 2)
        ]
        np.testing.assert_allclose(found, np.concatenate(alone), rtol=1e-4)
        assert len(set(found)) == CHUNK + 2


def test_only_the_wanted_columns_are_computed(random_backbones):
    measure = Lpips("alex", ["lpips_alex"])
    passes = []
    measure.distance.net.register_forward_hook(lambda *call: passes.append(call))
    assert list(measure(random_frames(1)).values) == ["lpips_alex"]
    assert len(passes) == 1
    assert measure.distance.all_scores == []  # nothing is kept from frame to frame


def test_frames_too_small_for_the_network_have_no_value(alex):
    assert np.isfinite(alex(random_frames(1, 31, 40)).values["lpips_alex"]).all()
    values, missing = alex(random_frames(2, 30, 40))
    assert all(np.isnan(found).tolist() == [True, True] for found in values.values())
    assert missing == ["the frame is smaller than 31 x 31"] * 2


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_weights_that_cannot_be_downloaded_are_named_with_their_place(offline, network):
    with pytest.raises(Unavailable, match="no network") as caught:
        Lpips(network)
    url = f"https://download.pytorch.org/models/{FILES[network]}"
    assert f"download {url} to {offline / FILES[network]}." in str(caught.value)


@pytest.mark.parametrize("damage", ["text", "cut", "other keys"])
def test_a_damaged_file_is_named(random_backbones, offline, damage):
    whole = (random_backbones / FILES["alex"]).read_bytes()
    offline.mkdir(parents=True)
    file = offline / FILES["alex"]
    if damage == "other keys":
        torch.save({"weight": torch.zeros(1)}, file)
    else:
        file.write_bytes(b"<html>" if damage == "text" else whole[: len(whole) // 2])
    with pytest.raises(Unavailable, match=f"to {file}") as caught:
        Lpips("alex")
    assert "\n" not in str(caught.value)
    if damage == "other keys":
        assert "(RuntimeError: Error(s) in loading state_dict for AlexNet): " in str(caught.value)


def test_a_missing_package_makes_it_unavailable(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image", None)
    with pytest.raises(Unavailable, match="pip install torchmetrics"):
        Lpips("alex")
