"""What comes with the project: a small network, and motions for it; and a portrait to try it on."""

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
    """The small network; says that it is used.  Raises InputError where its file is missing."""
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
    """The motions that the small network can be driven by, without a video."""
    return sorted(path.stem for path in MOTIONS.glob(f"*{SUFFIX}"))


def driving_path(text: str) -> Path:
    """The file or folder ``text``, or else the motion of that name; says which, if both are there.

    Raises InputError where there is neither.
    """
    names = motion_names()
    if text and (path := Path(text)).exists():
        if text in names:
            logger.info(
                "--driving %s is taken to be the %s of that name here; the motion that comes with "
                "the project is %s.",
                *(text, "folder" if path.is_dir() else "file", MOTIONS / f"{text}{SUFFIX}"),
            )
        return path
    if text in names:
        return MOTIONS / f"{text}{SUFFIX}"
    raise InputError(
        f"There is no file {text!r}, nor a motion of that name that comes with the project: "
        f"{', '.join(names) or 'none is here'}."
    )


def bundled_portrait() -> np.ndarray:
    """The astronaut Eileen Collins, by NASA: (512, 512, 3), RGB uint8; says that it is used.

    It lies inside the installed scikit-image: nothing is fetched.
    """
    from skimage import data

    logger.info(
        "No --source: the public-domain portrait in scikit-image (the astronaut Eileen Collins)."
    )
    portrait: np.ndarray = data.astronaut()
    return portrait
