from pathlib import Path

import pytest
from accelerate.state import AcceleratorState

from benchmarks import inference
from tests.tiny_run import write_clips, write_config


@pytest.fixture(autouse=True)
def small_measurements(monkeypatch):
    monkeypatch.setattr(inference, "CLIP_SECONDS", 0.4)


@pytest.fixture
def fresh_accelerator():
    """Forget the precision of other trainings in this process, before and after."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A tiny network, and clips for it."""
    return write_config(tmp_path / "tiny.yaml", write_clips(tmp_path / "clips"))
