import logging

import pytest
import torch
from torchvision.models import VGG19_Weights

from tests.tiny import random_images
from training.perceptual import PerceptualNetwork
from utils.errors import InputError


def torchvision_state() -> dict[str, torch.Tensor]:
    """Make a state dict as torchvision writes it, with a few tensors that are not needed."""
    network = PerceptualNetwork("random")
    state = {f"features.{name}": tensor + 1 for name, tensor in network.layers.state_dict().items()}
    return {**state, "classifier.0.bias": torch.zeros(3)}


def test_there_are_five_maps_each_half_as_large():
    features = PerceptualNetwork("random")(random_images(size=(32, 48)))
    assert [f.shape[1:] for f in features] == [
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (512, 4, 6),
        (512, 2, 3),
    ]
    assert all(feature.min() >= 0 for feature in features)  # after the ReLUs


def test_random_weights_are_said_and_are_always_the_same(caplog):
    with caplog.at_level(logging.WARNING):
        first = PerceptualNetwork("random")
    assert "random VGG-19" in caplog.text
    torch.manual_seed(5)
    for one, other in zip(
        first.parameters(), PerceptualNetwork("random").parameters(), strict=True
    ):
        assert torch.equal(one, other)
        assert not one.requires_grad


def test_a_local_file_is_loaded(tmp_path):
    state = torchvision_state()
    torch.save(state, tmp_path / "vgg.pth")
    network = PerceptualNetwork(str(tmp_path / "vgg.pth"))
    assert torch.equal(network.layers[0].weight, state["features.0.weight"])


def test_pretrained_weights_come_from_torchvision(tmp_path, monkeypatch, capsys):
    """The real download code runs with a local file instead of the server."""
    state = torchvision_state()
    torch.save(state, tmp_path / "server.pth")
    url = (tmp_path / "server.pth").as_uri()
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url",
        lambda _, **options: torch.hub.load_state_dict_from_url(url, progress=False),
    )
    assert VGG19_Weights.IMAGENET1K_V1.url.endswith(".pth")
    network = PerceptualNetwork("pretrained")
    assert torch.equal(network.layers[0].weight, state["features.0.weight"])
    said = capsys.readouterr()
    assert "Downloading: " in said.err
    assert not said.out


def test_without_a_download_the_settings_are_named(monkeypatch):
    from urllib.error import URLError

    def fail(*args, **options):
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(InputError, match=r"loss\.vgg=PATH.*loss\.vgg=random"):
        PerceptualNetwork("pretrained")


def test_too_small_an_image_is_one_sentence():
    with pytest.raises(InputError, match=r"at least 16 pixels, one is 8 x 32.*loss\.scales"):
        PerceptualNetwork("random")(random_images(size=(8, 32)))


@pytest.mark.parametrize("content", [{"features.0.weight": torch.zeros(1)}, "text", None])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "vgg.pth"
    if content == "text":
        path.write_text("not weights")
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"loss\.vgg|PyTorch weights"):
        PerceptualNetwork(str(path))
