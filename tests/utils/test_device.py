import pytest
import torch

from utils.device import flush_denormals, pick_device, pick_precision
from utils.errors import InputError


def test_the_cpu_is_always_there():
    assert pick_device("cpu") == torch.device("cpu")


def test_auto_takes_a_device_that_can_compute():
    assert torch.ones(2, device=pick_device("auto")).sum().item() == 2


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "", "xpu", "meta"])
def test_an_unknown_device_is_named_with_the_choices(name):
    with pytest.raises(InputError, match=f"'{name}'.*choose auto, cpu"):
        pick_device(name)


def test_an_absent_gpu_is_refused_with_the_number_of_gpus():
    with pytest.raises(InputError, match=r"'cuda:99' is absent.* \d+ CUDA GPUs"):
        pick_device("cuda:99")


def test_an_absent_apple_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match="'mps' is absent"):
        pick_device("mps")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_a_precision_asked_for_is_given(name, dtype):
    assert pick_precision(name, torch.device("cpu")) == dtype


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bf16_only_where_the_cpu_multiplies_it(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    assert pick_precision("auto", torch.device("cpu")) == dtype


@pytest.mark.parametrize(
    ("capability", "dtype"), [((8, 0), torch.bfloat16), ((7, 5), torch.float32)]
)
def test_auto_is_bf16_only_on_gpus_that_multiply_it(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert pick_precision("auto", torch.device("cuda")) == dtype


def test_an_unknown_precision_is_named_with_the_choices():
    with pytest.raises(InputError, match=r"'fp8'.*auto, fp32, bf16, fp16"):
        pick_precision("fp8", torch.device("cpu"))


def test_the_device_is_logged(caplog):
    with caplog.at_level("INFO"):
        pick_device("cpu")
    assert caplog.messages == ["Device: cpu."]


def test_what_is_next_to_nothing_becomes_nothing():
    tiny = torch.full((64,), 2e-38)
    try:
        torch.set_flush_denormal(False)
        assert (tiny * 0.1).min() > 0
        flush_denormals()
        assert (tiny * 0.1).abs().max() == 0
        assert (tiny * 2).min() > 0
    finally:
        flush_denormals()  # as for all tests
