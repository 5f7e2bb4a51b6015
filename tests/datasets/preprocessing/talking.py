"""Raw videos with scikit-image's astronaut, whose face the cascade finds."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

from media.pictures import Box, Picture
from tests.datasets.conftest import write_video

WIDTH, HEIGHT = 400, 230
FACE = 0.36  # of the width of the picture of a head


class SwayingHead:
    """A square with her head, somewhere in a frame; it sways a little."""

    def __init__(self, x: int, y: int, side: int = 220, mirrored: bool = False) -> None:
        self.x, self.y, self.side = x, y, side
        image = Image.fromarray(data.astronaut()[:256, 94:350])
        if mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        self.image = np.asarray(image.resize((side, side)))

    def draw(self, frame: Picture, number: int) -> None:
        left = self.x + round(6 * np.sin(number / 8))
        frame[self.y : self.y + self.side, left : left + self.side] = self.image

    def is_in(self, box: Box) -> bool:
        """Whether a box of pixels is around her face."""
        x, y = self.x + self.side / 2, self.y + 0.45 * self.side
        half = FACE * self.side / 2
        return (
            box.left < x - half
            and box.top < y - half
            and box.right > x + half
            and box.bottom > y + half
        )


class Shot:
    """Heads before one colour, for a time."""

    def __init__(self, num_frames: int, colour: tuple[int, int, int], *heads: SwayingHead) -> None:
        self.num_frames, self.colour, self.heads = num_frames, colour, heads

    def frames(self) -> Iterator[Picture]:
        for number in range(self.num_frames):
            frame = np.full((HEIGHT, WIDTH, 3), self.colour, np.uint8)
            for head in self.heads:
                head.draw(frame, number)
            yield frame


def write_shots(path: Path, *shots: Shot, rate: Fraction = Fraction(25)) -> Path:
    """The shots with hard cuts between them."""
    return write_video(path, (frame for shot in shots for frame in shot.frames()), rate, crf=12)
