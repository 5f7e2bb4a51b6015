from pathlib import Path

import pytest

from tests.datasets.conftest import write_clip


@pytest.fixture
def clip(tmp_path) -> Path:
    """Thirty frames of a moving bar."""
    return write_clip(tmp_path / "clip.mp4")
