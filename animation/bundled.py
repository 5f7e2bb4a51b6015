"""Files that come with the project: a small network, motions for it, and a source picture."""

import logging
from pathlib import Path

import numpy as np

from animation.motion_template import SUFFIX
from utils.errors import InputError

FOLDER = Path(__file__).parent.parent / "weights"
WEIGHTS = FOLDER / "mcnet-lite.safetensors"
MOTIONS = FOLDER / "motions"  # NAME.npz

logger = logging.getLogger(__name__)


def bundled_weights() -> Path:
    """Path of the small network, which is logged.  Raises InputError where it is missing."""
    if not WEIGHTS.is_file():
        raise InputError(
            f"The small network that comes with the project is missing ({WEIGHTS}): give a "
            "--checkpoint, or get the file from where you have the project from."
        )
    logger.info(
        "No --checkpoint: the small network in %s (research use only, see weights/README.md).",
        f"{WEIGHTS.parent.name}/{WEIGHTS.name}",
    )
    return WEIGHTS


def motion_names() -> list[str]:
    """Names of the motions that drive the small network without a video."""
    return sorted(path.stem for path in MOTIONS.glob(f"*{SUFFIX}"))


def driving_path(text: str) -> Path:
    """Find the file or folder ``text``, or else the bundled motion of that name.

    It is logged if both are there.  Raises InputError where there is neither.
    """
    names = motion_names()
    if text and (path := Path(text)).exists():
        if text in names:
            logger.info(
                "--driving %s is taken to be the %s of that name here; the motion that comes with "
                "the project is %s.",
                text,
                "folder" if path.is_dir() else "file",
                MOTIONS / f"{text}{SUFFIX}",
            )
        return path
    if text in names:
        return MOTIONS / f"{text}{SUFFIX}"
    raise InputError(
        f"There is no file {text!r}, nor a motion of that name that comes with the project: "
        f"{', '.join(names) or 'none is here'}."
    )


def bundled_source() -> np.ndarray:
    """Portrait of the astronaut Eileen Collins, by NASA: (512, 512, 3) RGB uint8; it is logged.

    It is part of the installed scikit-image: nothing is downloaded.
    """
    from skimage import data

    logger.info(
        "No --source: the public-domain portrait in scikit-image (the astronaut Eileen Collins)."
    )
    picture: np.ndarray = data.astronaut()
    return picture
