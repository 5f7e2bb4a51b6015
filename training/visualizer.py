"""The picture grid of a training run: one row per pair, one column per stage of the network."""

import colorsys
import logging
import math
from itertools import starmap

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from evaluation.metrics.pixels import to_pictures
from media.pictures import unit_range
from modules.geometry import Keypoints, full_precision, resize
from modules.mcnet import MCNet

HEADER = 14  # pixels for the names of the columns
MIN_WIDTH = 96  # of a column, for its name; smaller pictures are enlarged

logger = logging.getLogger(__name__)


@torch.no_grad()
def picture_grid(model: MCNet, source: Tensor, driving: Tensor) -> np.ndarray:
    """Draw a batch (B, 3, H, W) in [0, 1] through the stages of a model: (height, width, 3) uint8.

    The occlusion map is white where the source is visible.  What each level read from the memory is
    shown by its first three principal components.  Values that are not finite are black, such
    keypoints are left out, and both are warned of.
    """
    encoded = model.encode(source)
    driving_keypoints = model.detect(driving)
    rendered = model.render(encoded, driving_keypoints)

    columns = {
        "source": source,
        "driving": driving,
        "source kp": draw_keypoints(source, encoded.keypoints),
        "driving kp": draw_keypoints(driving, driving_keypoints),
        "warped": rendered.warped_source,
        "occlusion": rendered.motion.occlusion.expand(-1, 3, -1, -1),
    }
    shown = {"source kp": encoded.keypoints.positions, "driving kp": driving_keypoints.positions}
    for compensation in rendered.compensations:
        name = f"memory {compensation.read.shape[-1]}"
        shown[name] = compensation.read
        columns[name] = principal_components(finite(compensation.read))
    columns["prediction"] = rendered.prediction
    if broken := [name for name, x in (columns | shown).items() if not x.isfinite().all()]:
        logger.warning("Not finite in the picture grid: %s.", ", ".join(broken))

    height, width = source.shape[-2:]
    scale = math.ceil(MIN_WIDTH / width)
    size = (scale * height, scale * width)
    pictures = [to_pictures(resize(finite(column.float()), size)) for column in columns.values()]
    rows = [np.hstack(row) for row in zip(*pictures, strict=True)]
    return np.vstack([header(list(columns), size[1]), *rows])


def landmark_grid(images: Tensor, *landmarks: Tensor) -> np.ndarray:
    """Draw a row of images (B, 3, H, W) for every set of their landmarks (B, 68, 2)."""
    pictures = to_pictures(images)
    rows = [
        np.hstack([*starmap(draw_dots, zip(pictures, each.nan_to_num(-2).tolist(), strict=True))])
        for each in landmarks
    ]
    return np.vstack(rows)


def finite(images: Tensor) -> Tensor:
    """Replace values of (B, C, H, W) that are not finite by 0, which is black."""
    return images.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def draw_keypoints(images: Tensor, keypoints: Keypoints) -> Tensor:
    """Draw a coloured dot on every keypoint of images (B, 3, H, W)."""
    drawn = starmap(draw_dots, zip(to_pictures(images), keypoints.positions.tolist(), strict=True))
    return unit_range(list(drawn)).to(images)


def draw_dots(picture: np.ndarray, positions: list[list[float]]) -> np.ndarray:
    """Draw a dot at every (x, y) in [-1, 1] of a picture (H, W, 3) uint8."""
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    radius = max(1.0, image.width / 100)
    for index, (x, y) in enumerate(positions):
        if not (math.isfinite(x) and math.isfinite(y)):
            continue
        centre = ((x + 1) / 2 * (image.width - 1), (y + 1) / 2 * (image.height - 1))
        hue = colorsys.hsv_to_rgb(index / len(positions), 1, 1)
        canvas.circle(centre, radius, fill=tuple(round(255 * value) for value in hue))
    return np.asarray(image)


def principal_components(feature: Tensor) -> Tensor:
    """Compute three principal components of features (B, C, h, w), scaled to [0, 1]: (B, 3, h, w).

    In float64: the nearly constant features of a new network break the solver in float32.
    """
    positions = feature.double().flatten(2).transpose(1, 2)  # (B, h w, C)
    centred = positions - positions.mean(dim=1, keepdim=True)
    with full_precision(centred):
        _, directions = torch.linalg.eigh(centred.transpose(1, 2) @ centred)  # ascending
        components = (centred @ directions[..., -3:].flip(-1)).transpose(1, 2)  # (B, 3, h w)
    low, high = components.amin(-1, keepdim=True), components.amax(-1, keepdim=True)
    stretched = (components - low) / (high - low).clamp_min(1e-8)
    return stretched.unflatten(2, feature.shape[2:])


def header(names: list[str], width: int) -> np.ndarray:
    """Draw a white line with the name of every column, ``width`` pixels each."""
    image = Image.new("RGB", (width * len(names), HEADER), "white")
    canvas = ImageDraw.Draw(image)
    for index, name in enumerate(names):
        canvas.text((index * width + 2, 1), name, fill="black")
    return np.asarray(image)
