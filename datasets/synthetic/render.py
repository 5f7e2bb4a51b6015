"""Render a person in a pose: surfaces, fragments, paint, light, background."""

from functools import lru_cache

import numpy as np

from datasets.synthetic.body import body
from datasets.synthetic.canvas import Canvas
from datasets.synthetic.features import smoothstep
from datasets.synthetic.motion import Pose
from datasets.synthetic.paint import paint
from datasets.synthetic.person import Identity
from datasets.synthetic.rasteriser import build_mesh, rasterise
from datasets.synthetic.surface import ZOOM

SUPERSAMPLING = 2  # every pixel is the mean of 2 x 2
WARM = np.array([1.0, 0.95, 0.88], dtype=np.float32)  # of the lamp
COOL = np.array([0.95, 0.98, 1.08], dtype=np.float32)  # from all around


def render(identity: Identity, pose: Pose, size: int) -> np.ndarray:
    """Render the picture, (size, size, 3) uint8 RGB."""
    fine = SUPERSAMPLING * size
    surfaces = body(identity, pose)
    mesh = build_mesh(surfaces, fine)
    shown = rasterise(mesh.pixels, mesh.triangles, fine)
    values, owner = mesh.interpolate(shown), mesh.surface[shown.triangles]

    layer = np.zeros((fine * fine, 4), dtype=np.float32)  # colour, coverage
    for index, surface in enumerate(surfaces):
        here = np.flatnonzero(owner == index)
        face, normal, hair, angle = np.split(values.take(here, axis=0), [3, 6, 7], axis=1)
        canvas = Canvas(face, hair[:, 0], angle[:, 0], soft=1 / (ZOOM * fine))
        paint(surface.part, canvas, identity, pose)
        layer[shown.pixels[here], :3] = _light(identity, canvas, normal)
    layer[shown.pixels, 3] = 1
    layer = _downsample(layer.reshape(fine, fine, 4))
    picture = layer[..., :3] + (1 - layer[..., 3:]) * _background(identity, size)
    return (255 * picture + 0.5).astype(np.uint8)


def _light(identity: Identity, canvas: Canvas, normal: np.ndarray) -> np.ndarray:
    """Light the colours with a soft lamp, ambient light and a highlight; (F, 3) in [0, 1].

    Computed in linear light, with a display gamma of 2.
    """
    to_lamp = np.asarray(identity.light, dtype=np.float32)
    to_lamp /= np.linalg.norm(to_lamp)
    half_way = to_lamp + np.array([0, 0, 1], dtype=np.float32)
    half_way /= np.linalg.norm(half_way)
    wrap = 0.25  # the lamp is large: it reaches a little round the corner
    lamp = 0.65 * (np.maximum(normal @ to_lamp + wrap, 0) / (1 + wrap)) ** 1.2
    around = 0.3 - 0.12 * normal[:, 1] + 0.06 * normal[:, 2]  # more from above and from us
    light = lamp[:, None] * WARM + around[:, None] * COOL
    highlight = 0.35 * canvas.gloss * np.maximum(normal @ half_way, 0) ** 22
    return np.sqrt(np.clip(canvas.colour**2 * light + highlight[:, None], 0, 1))


def _downsample(fine: np.ndarray) -> np.ndarray:
    """Average blocks of pixels (adding slices is faster than a mean over short axes)."""
    steps = range(SUPERSAMPLING)
    blocks = [fine[i::SUPERSAMPLING, j::SUPERSAMPLING] for i in steps for j in steps]
    return np.asarray(sum(blocks)) / len(blocks)


@lru_cache(maxsize=4)
def _background(identity: Identity, size: int) -> np.ndarray:
    """Paint a wall with soft patches of light, (size, size, 3) in [0, 1]."""
    rng = np.random.default_rng(identity.texture)
    x, y = np.meshgrid(*2 * [np.linspace(-1, 1, size)])
    top, bottom, patches = (np.array(colour) for colour in identity.walls)
    share = smoothstep(-1.2, 1.2, y + rng.uniform(-1, 1) * x)[..., None]
    wall = (1 - share) * top + share * bottom
    for _ in range(rng.integers(3, 9)):
        centre, radius = rng.uniform(-1.1, 1.1, 2), rng.uniform(0.1, 0.45)
        distance = np.hypot(x - centre[0], y - centre[1])
        opacity = rng.uniform(0.1, 0.5) * smoothstep(radius, 0.6 * radius, distance)
        wall += opacity[..., None] * (patches - wall)
    return wall.astype(np.float32)
