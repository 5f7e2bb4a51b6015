"""The features of VGG-19 that the perceptual loss compares (Johnson et al., ECCV 2016)."""

import logging
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from utils.errors import InputError
from utils.progress import stdout_to_stderr

logger = logging.getLogger(__name__)

VGG19 = cfgs["E"][:17]  # the layers up to ReLU 5_1: channels of convolutions, and "M" for a pool
COMPARED = (1, 6, 11, 20, 29)  # ReLU 1_1, 2_1, 3_1, 4_1, 5_1
SMALLEST = 2 ** VGG19.count("M")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PerceptualNetwork(nn.Module):
    """VGG-19, frozen: maps an image to the features after the first ReLU of each of five blocks.

    ``weights`` is "pretrained" (torchvision's ImageNet weights, fetched at first use), "random", or
    the path of a state dict with torchvision's names.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.layers: nn.Sequential = make_layers(VGG19)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(IMAGENET_STD)[:, None, None])
        if weights == "random":
            self.fill_randomly()
        else:
            self.load(pretrained_weights() if weights == "pretrained" else local_weights(weights))
        self.eval().requires_grad_(False)

    def fill_randomly(self) -> None:
        """Initialise by He from a fixed seed: random features still see edges and colours."""
        logger.warning("The perceptual loss uses a random VGG-19 (loss.vgg: random).")
        generator = torch.Generator().manual_seed(0)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, generator=generator)
                layer.bias = nn.Parameter(torch.zeros(layer.out_channels))

    def load(self, state: dict[str, Tensor]) -> None:
        """Take the weights of the layers from a state dict of torchvision's VGG-19."""
        try:
            self.layers.load_state_dict(
                {key: state[f"features.{key}"] for key in self.layers.state_dict()}
            )
        except (KeyError, RuntimeError) as error:
            raise InputError(
                f"The weights given as loss.vgg are not a VGG-19 of torchvision: {error}."
            ) from error

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map (B, 3, H, W) in [0, 1] to five features (B, C_i, H / 2^i, W / 2^i)."""
        if min(image.shape[-2:]) < SMALLEST:
            raise InputError(
                f"VGG-19 compares images of at least {SMALLEST} pixels, one is "
                f"{image.shape[-2]} x {image.shape[-1]}: leave the largest of loss.scales out."
            )
        x = (image - self.mean) / self.std
        features = []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in COMPARED:
                features.append(x)
        return features


def pretrained_weights() -> dict[str, Tensor]:
    """Load torchvision's ImageNet weights, which are downloaded at first use."""
    try:
        with stdout_to_stderr():
            return dict(VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError) as error:
        raise InputError(
            f"The VGG-19 weights of the perceptual loss cannot be downloaded ({error}): name a "
            "local file with loss.vgg=PATH, or train against random features with loss.vgg=random."
        ) from error


def local_weights(path: str) -> dict[str, Tensor]:
    """Load the state dict in a file that the user names."""
    if not Path(path).is_file():
        raise InputError(
            f"There is no VGG-19 weights file {path}: loss.vgg takes a path, pretrained or random."
        )
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path} is not a file of PyTorch weights: {error}") from error
    return state
