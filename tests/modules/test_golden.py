"""Compare every stage of the network with the reference activations, in float32."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from modules.discriminator import DiscriminatorOutput
from modules.generator import Rendered
from modules.mcnet import Encoded, MCNet
from tests.golden import GOLDEN, needs_golden, published_discriminator, published_model

pytestmark = needs_golden

LEVELS = {128: 0, 64: 1, 32: 2}  # by the size at 256 x 256, as the arrays name them
CHANNEL_STEPS = {32: 16, 64: 32, 128: 64}  # of the maps that keep fewer channels at finer levels


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "seed0.npz"))


def to_image(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None] / 255


@pytest.fixture(scope="module")
def frames(arrays: dict[str, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return to_image(arrays["source"]), to_image(arrays["driving"])


@pytest.fixture(scope="module")
def model() -> MCNet:
    return published_model().eval()


@pytest.fixture(scope="module")
def run(
    model: MCNet, frames: tuple[torch.Tensor, torch.Tensor]
) -> Iterator[tuple[Encoded, Rendered]]:
    source, driving = frames
    with torch.no_grad():
        encoded = model.encode(source)
        yield encoded, model.render(encoded, model.detect(driving))


def assert_matches(ours: torch.Tensor, reference: np.ndarray) -> None:
    torch.testing.assert_close(
        ours.reshape(reference.shape), torch.from_numpy(reference), atol=1e-4, rtol=0
    )


def test_keypoints_match(arrays, model, frames):
    for name, frame in zip(("kp_source", "kp_driving"), frames, strict=True):
        with torch.no_grad():
            keypoints = model.detect(frame)
        assert_matches(keypoints.positions, arrays[f"{name}.value"])
        assert_matches(keypoints.jacobians, arrays[f"{name}.jacobian"])


def test_dense_motion_matches(arrays, run):
    _, rendered = run
    assert_matches(rendered.motion.mask, arrays["mask"])
    assert_matches(rendered.motion.deformation, arrays["deformation"])
    assert_matches(rendered.motion.occlusion, arrays["occlusion_map"])
    assert_matches(rendered.motion.candidates[:, ::4], arrays["sparse_deformed"])


@pytest.mark.parametrize("size", LEVELS)
def test_compensation_matches_at_every_level(size, arrays, run):
    level = run[1].compensations[LEVELS[size]]
    step = CHANNEL_STEPS[size]
    assert_matches(level.warped[:, ::16], arrays[f"level{size}.warped"])
    assert_matches(level.projected[:, ::step], arrays[f"level{size}.projected"])
    assert_matches(level.identity, arrays[f"level{size}.identity"])
    assert_matches(level.memory[:, ::16], arrays[f"level{size}.conditioned_memory"])
    assert_matches(level.query[:, ::step], arrays[f"level{size}.query"])
    assert_matches(level.keys[:, ::16], arrays[f"level{size}.key"])
    assert_matches(level.values[:, ::16], arrays[f"level{size}.value"])
    assert_matches(level.read[:, ::step], arrays[f"level{size}.residual"])
    assert_matches(level.compensated[:, ::16], arrays[f"level{size}.compensated"])


def test_prediction_matches(arrays, run):
    _, rendered = run
    assert_matches(rendered.warped_source, arrays["deformed_source"])
    assert_matches(rendered.prediction, arrays["prediction"])


def test_discriminator_matches(arrays, model, frames):
    with torch.no_grad():
        positions = model.detect(frames[1]).positions
        output: DiscriminatorOutput = published_discriminator()(frames[1], positions)
    assert_matches(output.logits, arrays["discriminator.prediction_map"])
    assert_matches(output.features[0][:, ::16], arrays["discriminator.feature_map_0"])


def test_there_is_no_other_reference_array(arrays):
    """Each test above names the arrays it compares: a new one must be added there."""
    stages = {name.split(".")[0] for name in arrays}
    assert stages == {
        *("source", "driving", "kp_source", "kp_driving", "prediction", "discriminator"),
        *("mask", "deformation", "occlusion_map", "sparse_deformed", "deformed_source"),
        *(f"level{size}" for size in LEVELS),
    }
