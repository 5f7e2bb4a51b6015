"""Draw the label that says that a live picture is generated."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from media.pictures import Picture

TEXT = "AI-generated"
HEIGHT = 0.06  # of the letters, as a fraction of the picture's height
SMALLEST = 9  # pixels of letters that can be read
GROUND, INK = (0, 0, 0, 150), (255, 255, 255, 235)  # RGBA


def labelled(picture: Picture) -> Picture:
    """Return a picture (H, W, 3) with the label in its lower left corner."""
    label, opacity = drawn_label(picture.shape[0])
    height, width = (min(label.shape[axis], picture.shape[axis]) for axis in (0, 1))
    result = picture.copy()
    part = result[-height:, :width]
    old, new, alpha = part.astype(np.float32), label[-height:, :width], opacity[-height:, :width]
    part[:] = (old + alpha * (new - old)).round().astype(np.uint8)
    return result


@cache
def drawn_label(height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw the label for pictures of a height: colours (h, w, 3), opacity (h, w, 1) in [0, 1]."""
    letters = max(round(HEIGHT * height), SMALLEST)
    font, margin = ImageFont.load_default(letters), letters // 2
    left, top, right, bottom = (round(side) for side in font.getbbox(TEXT))
    size = (right - left + 4 * margin, bottom - top + 3 * margin)
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    ground = (margin, margin // 2, size[0] - 1, size[1] - 1 - margin)
    draw.rounded_rectangle(ground, radius=margin, fill=GROUND)
    place = (2 * margin - left, margin - top)
    draw.text(place, TEXT, font=font, fill=INK)
    drawn = np.asarray(image, dtype=np.float32)
    return drawn[..., :3], drawn[..., 3:] / np.float32(255)
