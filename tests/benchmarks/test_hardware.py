import torch

from benchmarks import hardware
from benchmarks.hardware import cpu_info, describe
from utils.worker_pool import usable_cores

CPU = torch.device("cpu")
INFO = """processor\t: 0
model name\t: A fast one
flags\t\t: fpu avx2 amx_bf16 avx512_bf16

processor\t: 1
model name\t: Another
"""


def test_the_cpu_is_named_as_linux_names_it(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(INFO)
    monkeypatch.setattr(hardware, "CPU_INFO", path)
    found = describe(CPU)
    assert found["CPU"] == "A fast one"
    assert found["instructions"] == "avx2 avx512_bf16 amx_bf16"


def test_elsewhere_the_cpu_still_has_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "CPU_INFO", tmp_path / "none")
    assert cpu_info("model name") == ""
    found = describe(CPU)
    assert found["CPU"]
    assert found["instructions"] == ""


def test_the_description_says_what_figures_depend_on():
    found = describe(CPU)
    assert found["device"] == "cpu"
    assert found["PyTorch"] == torch.__version__
    assert found["cores"] == usable_cores() >= 1
    assert found["threads"] == torch.get_num_threads()
