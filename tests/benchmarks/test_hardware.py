import pytest
import torch

from benchmarks import hardware
from benchmarks.hardware import (
    Kernels,
    Peak,
    arithmetic,
    describe,
    instructions,
    measure_peaks,
    peak_table,
    processor,
    usable_cores,
)
from benchmarks.timing import Spread

CPU = torch.device("cpu")
INFO = """processor\t: 0
model name\t: A fast one
flags\t\t: fpu avx2 amx_bf16 avx512_bf16

processor\t: 1
model name\t: Another
"""


def test_the_processor_is_named_as_linux_names_it(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(INFO)
    monkeypatch.setattr(hardware, "CPU_INFO", path)
    assert processor() == "A fast one"
    assert instructions() == ["avx2", "avx512_bf16", "amx_bf16"]


def test_elsewhere_the_processor_still_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "none")
    assert processor()
    assert instructions() == []


def test_the_description_says_what_figures_depend_on():
    found = describe(CPU)
    assert found["device"] == "cpu"
    assert found["PyTorch"] == torch.__version__
    assert found["cores"] == usable_cores() >= 1
    assert found["threads"] == torch.get_num_threads()


def test_the_peak_is_the_greater_of_convolution_and_product():
    slow, fast = Spread.of([1e12]), Spread.of([2e12])
    assert Peak(slow, fast).flops == Peak(fast, slow).flops == 2e12


def test_peaks_are_the_operations_over_the_time(monkeypatch):
    monkeypatch.setitem(hardware.LARGE, "cpu", (2, 8, 4, 16))

    def one_second(calls, seconds, device):
        for call in calls.values():
            assert isinstance(call(), torch.Tensor)
        return {name: Spread.of([1.0]) for name in calls}

    monkeypatch.setattr(hardware, "take_turns", one_second)
    peaks = measure_peaks(CPU, ["fp32", "bf16"], seconds=1)
    assert list(peaks) == ["fp32", "bf16"]
    for peak in peaks.values():
        assert peak.convolution.median == 2 * (2 * 4 * 4) * 8 * (8 * 9)
        assert peak.product.median == 2 * 16**3
    first, _ = peak_table(peaks).rows
    assert first["arithmetic"] == "fp32"
    product = first["matrix product, TFLOP/s"]
    assert isinstance(product, Spread)
    assert product.median == pytest.approx(2 * 16**3 * 1e-12)


def test_only_a_gpu_multiplies_float32_in_a_cheaper_way():
    gpu = torch.device("cuda")
    assert arithmetic(torch.float32, gpu, tf32=True) == "tf32"
    assert arithmetic(torch.float32, gpu, tf32=False) == "fp32"
    assert arithmetic(torch.float32, CPU, tf32=True) == "fp32"
    assert arithmetic(torch.bfloat16, gpu, tf32=True) == "bf16"


def test_every_arithmetic_is_measured_with_its_kernels(monkeypatch):
    monkeypatch.setitem(hardware.LARGE, "cpu", (1, 4, 4, 8))
    used = []
    monkeypatch.setattr(hardware, "with_kernels", lambda kernels, call: used.append(kernels))
    measure_peaks(CPU, ["fp32", "tf32", "fp32"], seconds=0)
    assert set(used) == {Kernels(True, False, False), Kernels(True, True, True)}
