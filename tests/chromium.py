"""Chromium without a window, with a camera that shows a file: for tests of pages.

Debian's package ``chromium``, or the browser that ``CHROMIUM`` names, driven by Playwright.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
)
MODULES = Path(__file__).parent.parent / "node_modules"


def chromium_program() -> str:
    """Path of Chromium; the test is skipped where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("there is no Chromium: apt-get install chromium, or set CHROMIUM to its path")
    return found


@contextmanager
def chromium(camera: Path | None = None) -> Iterator[Any]:
    """Start the browser; its camera shows a file of JPEGs one after the other (.mjpeg)."""
    program = chromium_program()
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    flags = list(FLAGS)
    if camera is not None:
        flags += [
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, headless=True, args=flags)
        try:
            yield browser
        finally:
            browser.close()


def write_camera(path: Path, frames: list[np.ndarray]) -> Path:
    """Write frames (H, W, 3) as the file of a camera."""
    with path.open("wb") as file:
        for frame in frames:
            Image.fromarray(frame).save(file, "JPEG", quality=90)
    return path


def npm_package(name: str) -> Path:
    """Folder of a package of npm; the test is skipped where it is missing."""
    if not (MODULES / name).is_dir():  # npm would remove the one that is not named
        pytest.skip(f"there is no {name}: npm install --no-save axe-core onnxruntime-web")
    return MODULES / name


def serious_faults(page: Any) -> list[str]:
    """Serious and critical faults of accessibility of a page, one line each, by axe-core."""
    page.evaluate((npm_package("axe-core") / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")
    return [
        f"{fault['impact']}: {fault['id']}: {node['html']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
