"""A picture of what a root holds: one frame of each person, or of each clip, with its name."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.clips import frames_of
from datasets.inspection.clip_figures import ClipFigures
from media.pictures import Picture
from utils.errors import InputError

Each = Literal["person", "clip"]

TILE, GAP, LABEL, HEADING = 128, 6, 16, 26  # pixels
COLUMNS = 10
LABEL_SIZE, HEADING_SIZE = 11, 16  # pixels of the letters
PAPER, SHADE, INK = (255, 255, 255), (225, 225, 225), (0, 0, 0)


class Tile(NamedTuple):
    """A place on the sheet."""

    clip: Path
    frame: int
    label: str


def contact_sheet(
    clips: Mapping[str, Mapping[Path, ClipFigures]], each: Each, count: int
) -> Picture:
    """The sheet of clips by split: at most ``count`` tiles of each, spread over their names.

    The same for the same clips. Tiles stand in rows of ten, a frame of any shape in a square.
    """
    parts = []
    for split, own in clips.items():
        tiles = all_tiles(own, each)
        chosen = spread(tiles, count)
        shown = "" if len(chosen) == len(tiles) else f", {len(chosen):,} of them shown"
        things = "people" if each == "person" else "clips"
        parts.append(heading(f"{split or 'all'}: {len(tiles):,} {things}{shown}"))
        parts += [row(chosen[at : at + COLUMNS]) for at in range(0, len(chosen), COLUMNS)]
    return np.concatenate(parts)


def all_tiles(clips: Mapping[Path, ClipFigures], each: Each) -> list[Tile]:
    """The middle frame of every clip, or of the first clip of every person, by their names."""
    ordered = sorted(clips.items(), key=lambda item: item[1].name)
    if each == "clip":
        return [Tile(path, found.num_frames // 2, found.name) for path, found in ordered]
    of_person = Counter(found.person for _, found in ordered)
    first: dict[str, Tile] = {}
    for path, found in ordered:
        label = f"{found.person} ({of_person[found.person]})"
        first.setdefault(found.person, Tile(path, found.num_frames // 2, label))
    return list(first.values())


def spread(tiles: Sequence[Tile], count: int) -> list[Tile]:
    """At most ``count`` of the tiles, evenly spaced, with the first and the last."""
    places = np.linspace(0, len(tiles) - 1, min(count, len(tiles)))
    return [tiles[math.floor(place + 0.5)] for place in places]


def row(tiles: Sequence[Tile]) -> Picture:
    """Tiles side by side, each above its label."""
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, TILE + LABEL + GAP), PAPER)
    canvas = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LABEL_SIZE)
    for index, tile in enumerate(tiles):
        left = GAP + index * (TILE + GAP)
        canvas.rectangle((left, 0, left + TILE - 1, TILE - 1), fill=SHADE)
        try:
            (frame,) = frames_of(tile.clip, [tile.frame])
        except InputError:  # damaged between the frames that were measured
            canvas.text((left + GAP, GAP), "cannot be read", INK, font)
        else:
            image = fitted(frame)
            place = (left + (TILE - image.width) // 2, (TILE - image.height) // 2)
            sheet.paste(image, place)
        canvas.text((left, TILE + 1), shortened(tile.label, font), INK, font)
    return np.asarray(sheet)


def fitted(frame: Picture) -> Image.Image:
    """The whole frame in a tile."""
    height, width, _ = frame.shape
    scale = TILE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)


def heading(text: str) -> Picture:
    """A line above the tiles of a split."""
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, HEADING), PAPER)
    font = ImageFont.load_default(HEADING_SIZE)
    ImageDraw.Draw(sheet).text((GAP, 2), text, INK, font)
    return np.asarray(sheet)


def shortened(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The label, its middle left out where it is wider than a tile."""
    kept = len(label)
    text = label
    while kept > 2 and font.getlength(text) > TILE:
        kept -= 1
        text = f"{label[: kept // 2]}...{label[-(kept - kept // 2) :]}"
    return text
