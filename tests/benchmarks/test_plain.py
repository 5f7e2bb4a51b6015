import pytest
import torch

from benchmarks.counting import count_flops
from benchmarks.plain import plain_frame, plain_network, with_default_kernels
from tests.tiny import random_images, tiny_model


def test_a_plain_frame_is_the_networks():
    model = tiny_model().eval()
    source, driving = random_images(batch=2).split(1)
    with torch.no_grad():
        expected = model(source, driving).prediction
    torch.testing.assert_close(plain_frame(model, source, driving), expected)


def test_the_plain_network_computes_the_same_in_more_operations():
    model, (source, driving) = tiny_model().eval(), random_images(batch=2).split(1)
    model.requires_grad_(False)  # as a benchmark has it
    with torch.no_grad():
        expected = model(source, driving).prediction
    saving = count_flops(lambda: plain_frame(model, source, driving))
    assert plain_network(model) is model
    torch.testing.assert_close(plain_frame(model, source, driving), expected, rtol=0, atol=1e-5)
    assert count_flops(lambda: plain_frame(model, source, driving)) > saving


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
