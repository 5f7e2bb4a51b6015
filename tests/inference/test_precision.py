import gc
import logging
import weakref

import pytest
import torch

from inference import precision as precision_module
from inference.fused_network import HourglassInPrecision
from inference.precision import Inference
from modules.geometry import Keypoints
from modules.mcnet import MCNet
from tests.tiny import TINY_LANDMARKS, random_images, rounding_error, tiny_model

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def hardware_multiplies_bf16(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)


@pytest.fixture(autouse=True)
def detectors_stay_in_float32(monkeypatch):
    monkeypatch.setattr(precision_module, "MAX_MOVE", 0.0)


def harsh_model(factor: float) -> MCNet:
    """A network that paints in black and white only, here and there by rounding errors.

    By a factor of 1e8 it also overflows in float16, though in no other precision.
    """
    model = tiny_model()
    with torch.no_grad():
        model.generator.decoder.final.weight *= factor
        model.generator.decoder.final.bias.zero_()
        model.dense_motion.occlusion.bias.fill_(-10)  # nothing is visible: all is painted
    return model


@torch.inference_mode()
def rendered(inference: Inference, batch: int = 3, seed: int = 1) -> torch.Tensor:
    encoded = inference.encode(random_images(1, seed=0))
    return inference.render(encoded, inference.detect(random_images(batch, seed=seed)))


@torch.inference_mode()
def as_trained(model: MCNet, batch: int = 3, seed: int = 1) -> torch.Tensor:
    source = random_images(1, seed=0).expand(batch, -1, -1, -1)
    return model.eval()(source, random_images(batch, seed=seed)).prediction


@pytest.mark.parametrize(
    ("precision", "levels"),
    [
        ("fp32", 1e-3),
        ("bf16", rounding_error(torch.bfloat16)),
        ("fp16", rounding_error(torch.float16)),
    ],
)
def test_every_precision_renders_the_frames_of_the_network(precision, levels):
    inference = Inference(tiny_model(), CPU, precision)
    prediction = rendered(inference)
    assert prediction.dtype == torch.float32
    assert 255 * (prediction - as_trained(tiny_model())).abs().mean() < levels


# The check


def test_auto_is_bf16_where_a_frame_differs_little_which_is_said_once(caplog):
    with caplog.at_level(logging.INFO):
        inference = Inference(tiny_model(), CPU, "auto")
        assert caplog.messages == []
        for _ in range(2):
            prediction = rendered(inference)
    assert inference.precision == torch.bfloat16
    (message,) = caplog.messages
    difference = 255 * (prediction[0] - as_trained(tiny_model())[0]).abs().mean()
    assert message.startswith("Precision: bf16")
    assert f"{difference:.2f} grey levels" in message
    torch.testing.assert_close(prediction, rendered(Inference(tiny_model(), CPU, "bf16")))


def test_auto_is_fp32_where_the_first_frame_differs(caplog):
    with caplog.at_level(logging.INFO):
        inference = Inference(harsh_model(1e4), CPU, "auto")
        prediction = rendered(inference)
        rendered(inference)
    assert inference.precision == torch.float32
    (message,) = caplog.messages
    assert message.startswith("Precision: fp32, since in bf16")
    torch.testing.assert_close(
        prediction, rendered(Inference(harsh_model(1e4), CPU, "fp32")), rtol=0, atol=0
    )


def test_auto_is_fp32_where_bf16_overflows():
    inference = Inference(tiny_model(), CPU, "auto")
    with torch.no_grad():
        next(inference.fused.encoder.parameters()).fill_(torch.inf)
    assert rendered(inference).isfinite().all()
    assert inference.precision == torch.float32


def test_only_auto_is_checked(caplog):
    with caplog.at_level(logging.INFO):
        inference = Inference(harsh_model(1e4), CPU, "bf16")
        rendered(inference)
    assert inference.precision == torch.bfloat16
    assert caplog.messages == ["Precision: bf16."]


def test_auto_is_fp32_on_other_hardware_without_a_check(monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    with caplog.at_level(logging.INFO):
        inference = Inference(tiny_model(), CPU, "auto")
        rendered(inference)
    assert caplog.messages == ["Precision: fp32."]
    assert inference.precision_checked


@pytest.mark.parametrize(("precision", "kept"), [("fp32", False), ("auto", False), ("bf16", True)])
def test_the_trained_network_is_kept_only_beside_half_precision(precision, kept):
    model = harsh_model(1e4)
    inference = Inference(model, CPU, precision)
    rendered(inference)
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert (reference() is not None) == kept


# The detectors


def test_detectors_compute_in_bf16_where_keypoints_stay(monkeypatch):
    monkeypatch.setattr(precision_module, "MAX_MOVE", 1.0)
    model, image = tiny_model(TINY_LANDMARKS), random_images(2)
    inference = Inference(model, CPU, "bf16")
    with torch.inference_mode():
        found, expected = inference.detect(image), model.eval().detect(image)
    assert isinstance(inference.fused.detector.hourglass, HourglassInPrecision)
    for part, exact in zip(found, expected, strict=True):
        assert part.dtype == torch.float32
        assert 0 < (part - exact).abs().max() < 0.02


@torch.inference_mode()
def test_detectors_stay_in_float32_where_keypoints_move():
    model, image = tiny_model(TINY_LANDMARKS), random_images(2)
    inference = Inference(model, CPU, "bf16")
    torch.testing.assert_close(inference.detect(image), model.eval().detect(image))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_detectors_of_other_precisions_are_not_checked(precision, monkeypatch):
    monkeypatch.setattr(precision_module, "MAX_MOVE", 1.0)
    inference = Inference(tiny_model(), CPU, precision)
    rendered(inference)
    assert not isinstance(inference.fused.detector.hourglass, HourglassInPrecision)


# What overflows


def test_frames_that_overflow_are_rendered_in_float32_which_is_said_once(caplog):
    inference = Inference(harsh_model(1e8), CPU, "fp16")
    assert not rendered(inference).isfinite().all()
    for batch, seed in ((3, 1), (2, 5)):
        with torch.inference_mode():
            driving = inference.detect(random_images(batch, seed=seed))
            again = inference.render_again(inference.encode(random_images(1)), driving)
        torch.testing.assert_close(again, as_trained(harsh_model(1e8), batch, seed))
    (message,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "overflow in fp16" in message


@torch.inference_mode()
def test_each_source_of_a_batch_is_rendered_again_with_its_own_motion():
    inference, model = Inference(tiny_model(), CPU, "bf16"), tiny_model().eval()
    sources, driving = random_images(3, seed=0), random_images(3, seed=1)
    again = inference.render_again(inference.encode(sources), inference.detect(driving))
    torch.testing.assert_close(again, model(sources, driving).prediction)


def test_weights_can_be_trained_after_they_were_used():
    """Tensors made in inference mode cannot be trained."""
    model = tiny_model()
    rendered(Inference(model, CPU, "auto"))
    source = random_images(1)
    model.train()(source.expand(2, -1, -1, -1), random_images(2)).prediction.mean().backward()
    assert isinstance(model.detect(source), Keypoints)
