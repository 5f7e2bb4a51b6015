"""Run of the notebook's cells, in a process of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from media.video import probe

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs" / "animate.ipynb"


def code_cells() -> list[dict[str, list[str]]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if "outputs" in cell]


def test_the_notebook_animates_the_bundled_portrait(tmp_path):
    script = "\n".join("".join(cell["source"]) for cell in code_cells())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    python = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert python.returncode == 0, python.stderr
    assert python.stdout.splitlines()[-1] == "30 frames, 25 frames/s"
    assert probe(tmp_path / "talking.mp4").num_frames == 30
    assert probe(tmp_path / "nodding.mp4").num_frames == 20


def test_the_notebook_is_stored_without_outputs():
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code_cells())
