"""The fused network compared with the network that it is made from."""

import numpy as np
import pytest
import torch
from torch import nn

from inference.fused_network import CHANNELS_TO_PAINT_FOUR, FusedMCNet, SpreadFour, fuse
from inference.ops import FAST, PORTABLE
from modules.blocks import UpBlock
from modules.geometry import Keypoints
from modules.mcnet import MCNet, ModelConfig
from tests.golden import GOLDEN, needs_golden, published_model
from tests.modules.test_golden import to_image
from tests.tiny import (
    TINY,
    TINY_LANDMARKS,
    random_images,
    randomise_norms,
    rounding_error,
    tiny_model,
)
from utils.errors import InputError

GREY_LEVELS = 255


def lively_model(config: ModelConfig = TINY) -> MCNet:
    """Make a tiny network without the neutral parts that an untrained one has."""
    model = randomise_norms(tiny_model(config)).eval()
    nn.init.normal_(model.detector.jacobians.weight, std=0.05)
    model.detector.heatmaps.weight.data *= 5  # keypoints of every picture elsewhere
    if model.generator.memory is not None:
        nn.init.constant_(model.generator.memory.meta_memory.noise_strength, 0.3)
        nn.init.normal_(model.generator.memory.meta_memory.bias)
        nn.init.normal_(model.generator.memory.meta_memory.key_value_conv.bias)
        for layer in model.generator.memory.project:
            nn.init.normal_(layer.bias)
        for layer in model.generator.memory.identity.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight)
    return model


def without(**parts: object) -> ModelConfig:
    return TINY.model_copy(update=parts)


def with_memory(config: ModelConfig = TINY, **changes: object) -> ModelConfig:
    assert config.memory is not None
    return config.model_copy(update={"memory": config.memory.model_copy(update=changes)})


def of_width(width: int) -> ModelConfig:
    sizes = {"width": width, "max_width": 2 * width}
    return without(generator=TINY.generator.model_copy(update=sizes))


CONFIGS = {
    "both": TINY,
    "painted by fours": of_width(CHANNELS_TO_PAINT_FOUR),
    "keypoints": with_memory(identity="keypoints"),
    "feature": with_memory(identity="feature"),
    "one level": with_memory(levels=1),
    "located": with_memory(attention="located"),
    "located, one level": with_memory(attention="located", levels=1),
    "no memory": without(memory=None),
}


KNOWS_LANDMARKS = with_memory(
    TINY_LANDMARKS, attention="located", identity="keypoints, landmarks and feature"
)


def face(seed: int) -> torch.Tensor:
    """Make landmarks (3, 68, 2) apart from each other.

    A spline through those of an untrained detector, which lie on one spot, magnifies rounding.
    """
    lines = torch.linspace(-0.8, 0.8, 17), torch.linspace(-0.6, 0.6, 4)
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, 1)
    noise = torch.rand(3, 68, 2, generator=torch.Generator().manual_seed(seed))
    return grid + 0.05 * noise


def render(network: FusedMCNet, source: torch.Tensor, driving: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.render(network.encode(source), network.detect(driving))


@torch.no_grad()
@pytest.mark.parametrize("ops", [FAST, PORTABLE], ids=["fast", "portable"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_it_makes_the_pictures_of_the_network(config, ops):
    model = lively_model(config)
    source, driving = random_images(batch=3, seed=1), random_images(batch=3, seed=2)
    expected = model(source, driving).prediction
    found = render(fuse(model, torch.float32, ops), source, driving)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("config", [TINY_LANDMARKS, KNOWS_LANDMARKS], ids=["motion", "memory too"])
def test_it_makes_the_pictures_of_a_network_with_landmarks(config):
    model = lively_model(config)
    source, driving = random_images(batch=3, seed=1), random_images(batch=3, seed=2)
    predictions = []
    for network in (model, fuse(model, torch.float32)):
        encoded = network.encode(source)
        moved = network.detect(driving)._replace(landmarks=face(seed=2))
        keypoints = encoded.keypoints._replace(landmarks=face(seed=1))
        predictions.append(network.render(encoded._replace(keypoints=keypoints), moved))
    torch.testing.assert_close(predictions[1], predictions[0].prediction, atol=1e-4, rtol=0)


@torch.no_grad()
def test_one_source_serves_any_number_of_driving_frames():
    model = lively_model()
    source, driving = random_images(batch=1, seed=1), random_images(batch=3, seed=2)
    expected = model(source.expand(3, -1, -1, -1), driving).prediction
    found = render(fuse(model, torch.float32), source, driving)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("config", ["both", "painted by fours", "located"])
def test_half_precision_stays_near_but_would_not_if_keypoints_were_in_it(config, precision):
    model = lively_model(CONFIGS[config])
    source, driving = random_images(seed=1), random_images(seed=2)
    expected = model(source, driving).prediction
    network = fuse(model, precision)

    def difference() -> float:
        found = render(network, source, driving)
        return GREY_LEVELS * (found - expected).abs().mean().item()

    assert 0 < difference() < rounding_error(precision)
    network.detector.register_forward_hook(
        lambda module, inputs, found: tuple(part.to(precision).float() for part in found)
    )
    assert difference() > rounding_error(precision)


@torch.no_grad()
def test_keypoints_are_those_of_the_network_in_any_precision():
    model, image = lively_model(), random_images()
    expected = model.detect(image)
    for precision in (torch.float32, torch.bfloat16):
        found = fuse(model, precision).detect(image)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_weights_are_held_in_the_precision():
    network = fuse(lively_model(), torch.bfloat16)
    for part in (network.motion.hourglass, network.encoder, network.decoder):
        convs = [module for module in part.modules() if isinstance(module, nn.Conv2d)]
        assert convs
        assert {conv.weight.dtype for conv in convs} == {torch.bfloat16}
    norms = [x for x in network.decoder.modules() if isinstance(x, nn.BatchNorm2d)]
    assert norms
    statistics = [value for norm in norms for value in norm.state_dict().values() if value.dim()]
    assert {value.dtype for value in statistics} == {torch.float32}
    assert {value.dtype for value in network.detector.parameters()} == {torch.float32}


def test_the_network_is_left_as_it_was():
    model = lively_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fuse(model, torch.bfloat16)
    torch.testing.assert_close(dict(model.state_dict()), before, atol=0, rtol=0)


def test_a_network_in_training_is_taken_as_it_would_be_used():
    model = lively_model()
    image = random_images()
    expected = fuse(model, torch.float32).detect(image)
    found = fuse(model.train(), torch.float32).detect(image)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match="multiples of 8"):
        fuse(tiny_model(), torch.float32).detect(random_images(size=(32, 44)))


def test_the_decoder_is_made_of_other_layers():
    decoder = fuse(tiny_model(), torch.float32).decoder
    assert not any(isinstance(module, UpBlock) for module in decoder.modules())
    assert len([x for x in decoder.modules() if isinstance(x, nn.ConvTranspose2d)]) == 2


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_four_pixels_are_spread_as_by_pytorch(layout):
    maps = torch.rand(2, 12, 3, 5).contiguous(memory_format=layout)
    spread = SpreadFour()(maps)
    assert torch.equal(spread, nn.PixelShuffle(2)(maps))
    assert spread.is_contiguous()


@pytest.mark.parametrize("width", [8, 12])
def test_a_narrow_decoder_has_no_kernels_of_those_that_are_wrong_with_amx(width):
    decoder = fuse(tiny_model(of_width(width)), torch.bfloat16).decoder
    kernels = [module.kernel_size for module in decoder.modules() if isinstance(module, nn.Conv2d)]
    assert kernels
    assert (8, 8) not in kernels


def test_only_norms_that_open_a_residual_block_are_left():
    network = fuse(tiny_model(), torch.float32)
    norms = [name for name, module in network.named_modules() if type(module) is nn.BatchNorm2d]
    assert norms
    assert all(name.startswith("decoder.residual") for name in norms)


@needs_golden
@torch.no_grad()
@pytest.mark.parametrize(
    ("precision", "mean", "largest"),
    [
        (torch.float32, 1e-5, 1e-4),
        (torch.bfloat16, 1.5 / 255, 0.5),
        (torch.float16, 1.5 / 255, 0.5),
    ],
)
def test_the_published_network_keeps_its_prediction(precision, mean, largest):
    arrays = np.load(GOLDEN / "seed0.npz")
    source, driving = (to_image(arrays[name]) for name in ("source", "driving"))
    prediction = render(fuse(published_model(), precision), source, driving)
    difference = (prediction - torch.from_numpy(arrays["prediction"])).abs()
    assert difference.mean() < mean
    assert difference.max() < largest


def test_equal_keypoints_leave_the_visible_source():
    """Visible pixels come from the source in any precision."""
    network = fuse(lively_model(), torch.bfloat16)
    *_, bias = network.motion.occlusion.parameters()
    nn.init.constant_(bias, 50.0)
    source = random_images(batch=1)
    with torch.inference_mode():
        encoded = network.encode(source)
        same = Keypoints(*encoded.keypoints)
        torch.testing.assert_close(network.render(encoded, same), source, atol=1e-4, rtol=0)
