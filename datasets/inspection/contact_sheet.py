"""Draw a contact sheet of a root: one frame of each person or clip, with its name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont, ImageOps

from datasets.clips import frames_of
from faces.main_face import spread
from media.pictures import Picture
from utils.errors import InputError

Each = Literal["person", "clip"]

TILE, GAP, LABEL, HEADING = 128, 6, 16, 26  # pixels
COLUMNS = 10
LABEL_SIZE, HEADING_SIZE = 11, 16  # pixels of the letters
PAPER, SHADE, INK = (255, 255, 255), (225, 225, 225), (0, 0, 0)


class Tile(NamedTuple):
    """One frame on the sheet."""

    clip: Path
    frame: int
    label: str


def contact_sheet(clips: Mapping[str, pd.DataFrame], each: Each, count: int) -> Picture:
    """Draw clips by split: at most ``count`` tiles of each, spread over their names.

    ``clips`` has the rows of ``measure_all``; the same ones give the same sheet.  Tiles stand in
    rows of ten, a frame of any shape in a square.
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


def all_tiles(clips: pd.DataFrame, each: Each) -> list[Tile]:
    """Choose the middle frame of every clip, or of the first clip of every person, by name."""
    own = clips.sort_values("name", kind="stable")
    own["label"] = own["name"]
    if each == "person":
        uses = own.groupby("person")["person"].transform("size")
        own["label"] = own["person"] + " (" + uses.astype(str) + ")"
        own = own.drop_duplicates("person")
    return list(map(Tile, own["path"], (own["num_frames"] // 2).tolist(), own["label"]))


def row(tiles: Sequence[Tile]) -> Picture:
    """Draw tiles side by side, each above its label."""
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
            picture, size = Image.fromarray(frame), (TILE, TILE)
            sheet.paste(ImageOps.pad(picture, size, Image.Resampling.LANCZOS, SHADE), (left, 0))
        canvas.text((left, TILE + 1), shortened(tile.label, font), INK, font)
    return np.asarray(sheet)


def heading(text: str) -> Picture:
    """Draw the line above the tiles of a split."""
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, HEADING), PAPER)
    font = ImageFont.load_default(HEADING_SIZE)
    ImageDraw.Draw(sheet).text((GAP, 2), text, INK, font)
    return np.asarray(sheet)


def shortened(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Leave out the middle of a label that is wider than a tile."""
    kept = len(label)
    text = label
    while kept > 2 and font.getlength(text) > TILE:
        kept -= 1
        text = f"{label[: kept // 2]}...{label[-(kept - kept // 2) :]}"
    return text
