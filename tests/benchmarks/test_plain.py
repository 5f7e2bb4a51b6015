from copy import deepcopy

import pytest
import torch

from benchmarks.counting import count_parts
from benchmarks.plain import plain_form, plain_frame, with_default_kernels
from benchmarks.training import build, random_batch, start, start_plain, training_config
from datasets.frame_pairs import FramePairs
from modules.checkpoints import State
from tests.tiny import float64, random_images, tiny_model
from training.distributed import start_processes

CPU = torch.device("cpu")
# Relative.  A rounding is 1e-16, which Adam magnifies most in a gradient of zero: by its 1e-8.
SAME_IN_FLOAT64 = 1e-8


def test_a_plain_frame_is_the_networks():
    model = tiny_model().eval()
    source, driving = random_images(batch=2).split(1)
    with torch.no_grad():
        expected = model(source, driving).prediction
    torch.testing.assert_close(plain_frame(model, source, driving), expected)


def test_the_plain_form_computes_the_same_in_more_operations():
    model, (source, driving) = tiny_model().eval(), random_images(batch=2).split(1)
    with torch.no_grad():
        expected = model(source, driving).prediction
    saving = count_parts(model, (64, 96)).frame_flops
    assert plain_form(model) is model
    torch.testing.assert_close(plain_frame(model, source, driving), expected, rtol=0, atol=1e-5)
    assert count_parts(model, (64, 96)).frame_flops > saving


def test_plain_kernels_are_those_of_pytorch_and_end_with_the_call():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

    def settings() -> tuple[bool, bool, bool]:
        return cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32

    before = settings()
    try:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, True
        assert with_default_kernels(settings) == (False, True, False)
        with pytest.raises(ZeroDivisionError):
            with_default_kernels(lambda: 1 / 0)
        assert settings() == (True, False, True)
    finally:
        cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.usefixtures("fresh_accelerator")
@pytest.mark.parametrize("adversarial", [0, 1])
def test_the_plain_training_takes_the_same_steps(config, adversarial):
    changes = ["train.precision=fp32", f"loss.adversarial={adversarial}"]
    settings = training_config(config, None, changes)
    with float64():
        training = start(settings, start_processes(settings.train))
        plain = start_plain(settings, CPU)
        before = deepcopy(plain.objective.model.state_dict())
        judge_before = deepcopy(plain.discriminator and plain.discriminator.state_dict())
        batch = FramePairs(*(part.double() for part in random_batch(settings, CPU)))
        for _ in range(3):
            losses = plain.take_step(batch, training.noise(len(batch.source), 0))
            training.take_step([batch], rate_factor=1.0)
            found = training.report()
            expected = {name: found[f"loss/{name}"] for name in losses}
            assert losses == pytest.approx(expected, rel=SAME_IN_FLOAT64)
    assert_moved_alike(before, plain.objective.model.state_dict(), training.model.state_dict())
    assert_moved_alike(before, plain.ema, training.ema.state_dict())
    if judge_before:
        judges = plain.discriminator.state_dict(), training.discriminator.state_dict()
        assert_moved_alike(judge_before, *judges)
    assert plain.ema["detector.heatmaps.bias"].ne(before["detector.heatmaps.bias"]).all()


def assert_moved_alike(before: State, one: State, other: State) -> None:
    moved, apart = (
        sum((values[name] - one[name]).abs().double().sum().item() for name in one)
        for values in (before, other)
    )
    assert apart < SAME_IN_FLOAT64 * moved


def test_both_trainings_begin_with_the_same_weights(config):
    settings = training_config(config, None, [])
    one, other = (build(settings).objective.model.state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
