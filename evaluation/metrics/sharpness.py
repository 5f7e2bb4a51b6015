"""Sharpness: fineness of the detail of a result relative to that of the real frame."""

import numpy as np
from PIL import Image

from evaluation.metrics.interface import Frames, Measured

FLAT = "the real frame is flat"


class Sharpness:
    """Gradient energy of the result over that of the real frame: 1 is as sharp, 0 is flat."""

    def __call__(self, frames: Frames) -> Measured:
        real, generated = (
            np.array([gradient_energy(picture) for picture in pictures])
            for pictures in (frames.real, frames.generated)
        )
        ratio = np.divide(generated, real, out=np.full(len(real), np.nan), where=real > 0)
        return Measured({"sharpness": ratio}, np.where(real > 0, "", FLAT).tolist())


def gradient_energy(picture: np.ndarray) -> float:
    """Average the absolute differences of neighbours in 8-bit luma (BT.601), down plus across."""
    luma = np.asarray(Image.fromarray(picture).convert("L")).astype(np.int16)
    return float(sum(np.abs(np.diff(luma, axis=axis)).mean() for axis in (0, 1)))
