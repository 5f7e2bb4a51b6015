"""Draw the appearance of a generated person, which stays the same while it talks."""

from typing import NamedTuple

import numpy as np

Colour = tuple[float, float, float]  # display RGB in [0, 1]

SKIN_TONES = ((255, 219, 196), (243, 199, 168), (226, 172, 136), (198, 139, 102), (150, 98, 68),
              (104, 66, 47))  # fmt: skip
HAIR_COLOURS = ((24, 20, 20), (44, 30, 24), (82, 54, 36), (124, 72, 40), (188, 146, 92),
                (150, 146, 142))  # fmt: skip
EYE_COLOURS = ((70, 42, 24), (96, 66, 36), (92, 104, 60), (74, 112, 150), (104, 120, 130))


class Identity(NamedTuple):
    """Appearance of one person; lengths in head units: the head is 2 high, from -1 to 1 (chin)."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cloth: Colour
    trim: Colour  # second colour of the clothes
    walls: tuple[Colour, Colour, Colour]  # colours of the background

    face_width: float
    jaw_width: float  # 1 = as wide as the cheeks allow, less = pointed
    chin: float  # how far it stands out
    cheeks: float
    eye_x: float  # of the centre of the right eye; the left one mirrors it
    eye_y: float
    eye_width: float  # half of it
    eye_height: float
    eye_tilt: float  # outer corners up
    brow_y: float
    brow_thickness: float
    brow_arch: float
    nose_y: float  # of the tip
    nose_width: float
    nose_height: float  # how far it stands out
    mouth_y: float
    mouth_width: float  # half of it
    lip_thickness: float
    ear_size: float

    hairline: float  # y of its front
    fringe: float  # how much lower it hangs on one side, signed
    hair_volume: float
    curl: float
    hair_length: float  # y to which long hair falls; below 0.6 there is none
    beard: float  # opacity
    neckline: float  # depth of the collar
    stripes: float  # contrast of the clothes' pattern

    light: tuple[float, float, float]  # direction towards the light: x right, y down, z to us
    texture: int  # seed of hair strands and background


def draw_identity(rng: np.random.Generator) -> Identity:

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    skin = _tone(rng, SKIN_TONES)
    fair = sum(skin) / 3 > 0.62
    long_haired = chance(0.45)
    balding = not long_haired and chance(0.15)
    curly = chance(0.35)
    redness = np.array([between(0.72, 0.9), between(0.42, 0.6), between(0.45, 0.6)])
    return Identity(
        skin=skin,
        hair=_tone(rng, HAIR_COLOURS if fair else HAIR_COLOURS[:2]),
        iris=_pick(rng, EYE_COLOURS if fair else EYE_COLOURS[:2]),
        lips=_colour(np.array(skin) * redness * (1.12 if fair else 1.25)),
        cloth=_hue(rng, saturation=between(0.1, 0.6), value=between(0.15, 0.7)),
        trim=_hue(rng, saturation=between(0.0, 0.5), value=between(0.5, 0.95)),
        walls=(
            _hue(rng, saturation=between(0.0, 0.35), value=between(0.35, 0.85)),
            _hue(rng, saturation=between(0.0, 0.4), value=between(0.15, 0.6)),
            _hue(rng, saturation=between(0.05, 0.6), value=between(0.4, 0.95)),
        ),
        face_width=between(0.68, 0.79),
        jaw_width=between(0.75, 1.0) if not long_haired else between(0.68, 0.85),
        chin=between(0.05, 0.15),
        cheeks=between(0.01, 0.07),
        eye_x=between(0.275, 0.32),
        eye_y=between(-0.03, 0.03),
        eye_width=between(0.14, 0.172),
        eye_height=between(0.062, 0.086),
        eye_tilt=between(-0.06, 0.16),
        brow_y=between(-0.24, -0.19),
        brow_thickness=between(0.022, 0.045) if not long_haired else between(0.016, 0.03),
        brow_arch=between(0.02, 0.07),
        nose_y=between(0.31, 0.38),
        nose_width=between(0.09, 0.14),
        nose_height=between(0.19, 0.3),
        mouth_y=between(0.56, 0.62),
        mouth_width=between(0.2, 0.26),
        lip_thickness=between(0.045, 0.085),
        ear_size=between(0.85, 1.2),
        hairline=-1.2 if balding else between(-0.74, -0.54),
        fringe=0.0 if balding else between(-0.25, 0.25),
        hair_volume=between(0.07, 0.17) if long_haired else between(0.03, 0.22 if curly else 0.1),
        curl=between(0.2, 1.0) if curly else 0.0,
        hair_length=between(0.75, 1.6) if long_haired else 0.0,
        beard=between(0.25, 0.85) if not long_haired and chance(0.45) else 0.0,
        neckline=between(0.06, 0.5),
        stripes=between(0.2, 0.5) if chance(0.4) else 0.0,
        light=(between(-0.7, 0.7), between(-0.9, -0.3), between(0.7, 1.2)),
        texture=int(rng.integers(2**31)),
    )


def _colour(rgb: np.ndarray) -> Colour:
    red, green, blue = (float(value) for value in np.clip(rgb, 0, 1))
    return red, green, blue


def _pick(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]) -> Colour:
    return _colour(np.array(palette[rng.integers(len(palette))]) / 255 * rng.uniform(0.9, 1.1))


def _tone(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...]) -> Colour:
    """Draw a colour between two neighbours of a palette."""
    place = rng.uniform(0, len(palette) - 1)
    first, share = int(place), place % 1
    mixed = np.array(palette[first]) * (1 - share) + np.array(palette[first + 1]) * share
    return _colour(mixed / 255)


def _hue(rng: np.random.Generator, saturation: float, value: float) -> Colour:
    wheel = np.clip(np.abs((rng.uniform(0, 6) + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return _colour(value * (1 - saturation + saturation * wheel))
