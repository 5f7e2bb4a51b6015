"""Convert the colours of high dynamic range and of wide gamut to sRGB.

HDR stores light up to 1000 times as bright as black is dark, by the curves PQ (SMPTE ST 2084) or
HLG (ITU-R BT.2100).  Shown unchanged, its values look grey.  They are converted to light, which is
mapped to the brightness of a screen by the curve of ITU-R BT.2390, and to the colours of sRGB.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from media.pictures import Picture

# FFmpeg's numbers
PQ, HLG = 16, 18  # as transfer curve
BT709, BT2020, P3 = 1, 9, 12  # as primaries
TRANSFERS = {PQ: "PQ", HLG: "HLG"}

SIDE = 65  # of the table: the largest that Pillow accepts
SCREEN_WHITE, PEAK = 203.0, 1000.0  # cd/m^2: of diffuse white (BT.2408), and of what is graded
CHROMATICITIES = {  # (x, y) of red, green and blue
    BT709: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
D65 = (0.3127, 0.3290)

Colours = NDArray[np.float64]  # (..., 3)


@cache
def srgb_table(primaries: int, transfer: int) -> Callable[[Picture], Picture] | None:
    """Make a conversion to sRGB from these primaries and this curve (FFmpeg's numbers).

    None where none is needed: for BT.709, BT.601 and whatever is not stated.
    """
    is_hdr = transfer in TRANSFERS
    if primaries not in CHROMATICITIES:
        primaries = BT2020 if is_hdr else BT709
    if primaries == BT709 and not is_hdr:
        return None
    axis = np.linspace(0, 1, SIDE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")  # red runs fastest
    values = np.stack([red, green, blue], axis=-1)
    light = tone_mapped(to_light(values, transfer)) if is_hdr else from_srgb(values)
    light = light @ (np.linalg.inv(to_xyz(BT709)) @ to_xyz(primaries)).T
    table = to_srgb(light.clip(0, 1)).astype(np.float32)
    lookup = ImageFilter.Color3DLUT(SIDE, table.reshape(-1).tolist(), target_mode="RGB")

    def convert(picture: Picture) -> Picture:
        return np.asarray(Image.fromarray(picture).filter(lookup))

    return convert


def to_light(values: Colours, transfer: int) -> Colours:
    """Convert values in [0, 1] to light in cd/m^2: by PQ, or by HLG on a screen of 1000."""
    if transfer == PQ:
        return pq_to_light(values)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - c) / a) + b) / 12)
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593])
    return PEAK * np.maximum(luminance, 1e-12)[..., None] ** 0.2 * scene


def tone_mapped(light: Colours) -> Colours:
    """Map light (cd/m^2) to fractions of the screen's white, with compressed highlights.

    The darker half is unchanged.  The curve acts on each colour by itself: else the table would not
    be smooth.
    """
    white, peak = (float(light_to_pq(np.array(of))) for of in (SCREEN_WHITE, PEAK))
    x, top = np.minimum(light_to_pq(light) / peak, 1), white / peak
    knee = 1.5 * top - 0.5
    t = (x - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * top
    )
    return pq_to_light(np.where(x < knee, x, spline) * peak) / SCREEN_WHITE


M1, M2 = 2610 / 16384, 2523 / 32  # the constants of ST 2084
C1, C2, C3 = 3424 / 4096, 2413 / 128, 2392 / 128


def pq_to_light(values: Colours) -> Colours:
    """Convert PQ's values in [0, 1] to light in cd/m^2."""
    power = values ** (1 / M2)
    return 10000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1)


def light_to_pq(light: Colours) -> Colours:
    """Convert light in cd/m^2 to PQ's values in [0, 1]."""
    power = (light / 10000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def from_srgb(values: Colours) -> Colours:
    """Convert values of sRGB to light in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Colours) -> Colours:
    """Convert light in [0, 1] to values of sRGB."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: int) -> Colours:
    """Matrix from linear RGB of these primaries, with white at D65, to XYZ: (3, 3)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in CHROMATICITIES[primaries]]).T
    x, y = D65
    scale = np.linalg.solve(columns, np.array([x / y, 1, (1 - x - y) / y]))
    return columns * scale
