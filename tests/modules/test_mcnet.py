import pytest
import torch
from pydantic import ValidationError

from modules.mcnet import ModelConfig
from modules.memory_compensation import MemoryConfig
from tests.tiny import TINY, random_images, tiny_model
from utils.errors import InputError


def with_memory(**changes: object) -> ModelConfig:
    memory = (
        None
        if changes.get("memory", 1) is None
        else MemoryConfig(**{"channels": 12, "size": 6, "identity_hidden": 8, **changes})
    )
    return TINY.model_copy(update={"memory": memory})


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (32, 40), (48, 64)])
def test_any_size_works(size):
    model = tiny_model().eval()
    rendered = model(random_images(size=size), random_images(size=size, seed=1))
    assert rendered.prediction.shape == (2, 3, *size)
    assert 0 <= rendered.prediction.min() <= rendered.prediction.max() <= 1
    assert len(rendered.compensations) == model.config.memory_levels == 2


@pytest.mark.parametrize("attention", ["dot", "located"])
def test_the_coarsest_levels_read_the_memory_and_the_others_pass_by(attention):
    model = tiny_model(with_memory(levels=1, attention=attention)).eval()
    assert model.config.memory_levels == 1
    rendered = model(random_images(), random_images(seed=1))
    (level,) = rendered.compensations
    assert level.warped.shape[-2:] == (8, 12)  # of 32 x 48, halved twice


def test_an_identity_from_landmarks_needs_their_detector():
    with pytest.raises(ValidationError, match="nothing finds landmarks: add a landmark_detector"):
        ModelConfig(memory=MemoryConfig(identity="keypoints, landmarks and feature"))


def test_more_levels_than_there_are_is_one_sentence():
    with pytest.raises(
        ValidationError, match=r"memory\.levels is 3, but generator\.depth leaves 2"
    ):
        ModelConfig(**{**TINY.model_dump(), "memory": MemoryConfig(levels=3)})


def test_a_size_that_cannot_be_halved_is_one_sentence():
    model = tiny_model()
    assert model.size_multiple == 8
    with pytest.raises(InputError, match="multiples of 8: found 30 x 48 pixels"):
        model.encode(random_images(size=(30, 48)))


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 96)])
def test_the_published_network_takes_multiples_of_32(size):
    """The published depths at small widths: downsampled by 4, then five halvings."""
    narrow = {
        name: getattr(ModelConfig(), name).model_copy(update={"width": 2, "max_width": 4})
        for name in ("keypoint_detector", "dense_motion", "generator")
    }
    memory = MemoryConfig(channels=4, size=32, identity_hidden=4)
    model = tiny_model(ModelConfig(memory=memory, **narrow)).eval()
    assert model.size_multiple == 32
    rendered = model(random_images(1, size), random_images(1, size, seed=1))
    assert rendered.prediction.shape == (1, 3, *size)


@pytest.mark.parametrize(
    "config",
    [with_memory(memory=None), with_memory(identity="keypoints"), with_memory(identity="feature")],
    ids=["no memory", "keypoints only", "feature only"],
)
def test_the_ablations_of_the_paper_are_configurations(config):
    model = tiny_model(config).train()
    rendered = model(random_images(), random_images(seed=1))
    rendered.prediction.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.ndim > 1)


def test_one_encoded_source_serves_a_batch_of_driving_frames():
    model = tiny_model().eval()
    source, driving = random_images(batch=1), random_images(batch=3, seed=1)
    with torch.no_grad():
        together = model.render(model.encode(source), model.detect(driving)).prediction
        each = [model(source, frame[None]).prediction for frame in driving]
    torch.testing.assert_close(together, torch.cat(each), atol=1e-5, rtol=1e-5)


def test_inference_is_repeatable():
    torch.manual_seed(0)
    model = tiny_model().eval()
    torch.nn.init.ones_(model.generator.memory.meta_memory.noise_strength)
    source, driving = random_images(), random_images(seed=1)
    with torch.no_grad():
        first = model(source, driving).prediction
        torch.manual_seed(7)
        assert torch.equal(first, model(source, driving).prediction)


def test_a_visible_unmoved_source_is_returned():
    model = tiny_model().eval()
    torch.nn.init.constant_(model.dense_motion.occlusion.bias, 50)  # all visible
    source = random_images()
    with torch.no_grad():
        encoded = model.encode(source)
        prediction = model.render(encoded, encoded.keypoints).prediction
    torch.testing.assert_close(prediction, source, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_close(dtype):
    model = tiny_model().eval()
    source, driving = random_images(), random_images(seed=1)
    with torch.no_grad():
        exact = model(source, driving).prediction
        with torch.autocast("cpu", dtype):
            half = model(source, driving)
    assert half.prediction.isfinite().all()
    assert half.motion.deformation.dtype == half.motion.mask.dtype == torch.float32
    assert (half.prediction - exact).abs().mean() < 5 / 255


@pytest.mark.parametrize(
    "config", [TINY, with_memory(attention="located", levels=1)], ids=["published", "located"]
)
def test_every_parameter_gets_a_gradient(config):
    model = tiny_model(config).train()
    torch.nn.init.normal_(model.detector.jacobians.weight, std=0.1)
    noise = torch.randn(2, model.config.memory_levels, 6, 6)
    rendered = model(random_images(), random_images(seed=1), noise)
    (rendered.prediction * torch.rand_like(rendered.prediction)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_keypoints_of_another_frame_move_the_prediction():
    model = tiny_model().eval()
    with torch.no_grad():
        encoded = model.encode(random_images())
        moved = encoded.keypoints._replace(positions=encoded.keypoints.positions + 0.3)
        still = model.render(encoded, encoded.keypoints)
        rendered = model.render(encoded, moved)
    assert (rendered.prediction - still.prediction).abs().mean() > 0.01
