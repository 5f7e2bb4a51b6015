"""Paint the points of a surface in layers, with hair-like noise."""

from functools import lru_cache

import numpy as np

from datasets.synthetic.person import Colour

SHADOW = np.array([0.9, 1.0, 1.03], dtype=np.float32)  # least from red: skin stays warm


class Canvas:
    """F points to be painted, in face coordinates; a ``patch`` of it shares its colours."""

    def __init__(self, face: np.ndarray, hair: np.ndarray, angle: np.ndarray, soft: float) -> None:
        self.x, self.y, self.z = np.ascontiguousarray(face.T)
        self.hair, self.angle = hair, angle  # as in Surface
        self.soft = soft  # half the width of a sharp edge: about a pixel, in head units
        self.colour = np.zeros((len(hair), 3), dtype=np.float32)  # RGB in [0, 1], as displayed
        self.gloss = np.zeros(len(hair), dtype=np.float32)  # strength of the highlight
        self.place = np.arange(len(hair))  # of the points in colour and gloss

    def patch(self, mask: np.ndarray) -> "Canvas":
        """Select the points where ``mask`` is true."""
        part = object.__new__(Canvas)
        chosen = np.flatnonzero(mask)
        for name in ("x", "y", "z", "hair", "angle", "place"):
            setattr(part, name, getattr(self, name).take(chosen))
        part.soft, part.colour, part.gloss = self.soft, self.colour, self.gloss
        return part

    def near(self, centre: tuple[float, float], radii: tuple[float, float]) -> "Canvas":
        """Select the points in an upright box around ``centre``."""
        (x, y), (width, height) = centre, radii
        return self.patch((np.abs(self.x - x) < width) & (np.abs(self.y - y) < height))

    def fill(self, colour: np.ndarray | Colour, gloss: float) -> None:
        self.colour[self.place] = colour
        self.gloss[self.place] = gloss

    def over(
        self, colour: np.ndarray | Colour, opacity: np.ndarray, gloss: float | None = None
    ) -> None:
        """Paint ``colour``, one or (F, 3), over the points with an ``opacity`` (F,)."""
        opacity = opacity.astype(np.float32)
        before = self.colour.take(self.place, axis=0)
        colour = np.asarray(colour, dtype=np.float32)
        self.colour[self.place] = before + opacity[:, None] * (colour - before)
        if gloss is not None:
            before = self.gloss[self.place]
            self.gloss[self.place] = before + opacity * (gloss - before)

    def shade(self, shadow: np.ndarray) -> None:
        """Darken the points by ``shadow`` (F,) in [0, 0.9]."""
        factor = 1 - shadow.astype(np.float32)[:, None] * SHADOW
        self.colour[self.place] *= factor


def tint(colour: Colour, factor: float) -> np.ndarray:
    return np.clip(np.asarray(colour, dtype=np.float32) * factor, 0, 1)


def strands(seed: int, across: np.ndarray, along: np.ndarray, curl: float = 0.0) -> np.ndarray:
    """Compute hair-like noise in [0, 1] at a place ``across`` the hairs and ``along`` them."""
    table = _strand_table(seed)
    row = (along + 5) * 20 + 3 * curl * np.sin(9 * across)
    column = (across + 5) * 60 + 4 * curl * np.sin(16 * along)
    rows, columns = table.shape
    return table[row.astype(np.int32) % rows, column.astype(np.int32) % columns]


@lru_cache(maxsize=4)
def _strand_table(seed: int) -> np.ndarray:
    noise: np.ndarray = np.random.default_rng(seed).random((64, 512), dtype=np.float32)
    for shift in (1, 2, 4, 8):
        noise = (noise + np.roll(noise, shift, axis=0)) / 2
    return (noise - noise.min()) / (noise.max() - noise.min())
