"""Define eyes, brows and mouth as curves on the face, for relief, paint and landmarks.

The curves are in face coordinates (see surface.py).
"""

from typing import NamedTuple

import numpy as np

from datasets.synthetic.motion import Pose
from datasets.synthetic.person import Identity


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Rise from 0 at ``low`` to 1 at ``high``, or fall where ``low`` > ``high``."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(
    x: np.ndarray, y: np.ndarray, centre: tuple[float, float], radii: tuple[float, float]
) -> np.ndarray:
    """Compute a Gaussian hill of height 1."""
    return np.exp(-(((x - centre[0]) / radii[0]) ** 2) - ((y - centre[1]) / radii[1]) ** 2)


def arc(along: np.ndarray | float) -> np.ndarray | float:
    """Compute the shape of lids and lips: 1 in the middle, 0 at the corners."""
    return np.maximum(1 - along * along, 0)


class Eye(NamedTuple):
    """Eye on one side (-1 = left in the picture, 1 = right)."""

    side: int
    x: float  # of its middle
    y: float
    width: float  # half of it
    tilt: float  # how much higher the outer corner is
    above: float  # height of the upper lid over the line between the corners
    below: float  # depth of the lower lid under it
    pupil: tuple[float, float]
    iris: float  # radius

    def local(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the place along the eye (-1 inner to 1 outer corner), and below its axis."""
        along = self.side * (x - self.x)
        return along / self.width, y - self.y + self.tilt * along


def eyes(identity: Identity, pose: Pose) -> tuple[Eye, ...]:
    """Place both eyes; the lids follow the gaze, close, and narrow in a smile."""
    height = identity.eye_height
    open_above = height * (1 + 0.25 * pose.brow - 0.25 * pose.smile - 0.3 * pose.gaze_y)
    below = 0.55 * height * (1 - 0.3 * pose.smile)
    above = open_above * (1 - pose.blink) - 0.85 * below * pose.blink
    return tuple(
        Eye(
            side=side,
            x=side * identity.eye_x,
            y=identity.eye_y,
            width=identity.eye_width,
            tilt=identity.eye_tilt,
            above=above,
            below=below,
            pupil=(
                side * identity.eye_x + 0.055 * pose.gaze_x,
                identity.eye_y - 0.006 + 0.03 * pose.gaze_y,
            ),
            iris=0.066,
        )
        for side in (-1, 1)
    )


class Mouth(NamedTuple):
    """Lips: the line where they meet splits into two when the jaw opens."""

    y: float  # of the corners, before the smile lifts them
    width: float  # half of it
    opening: float  # between the lips, in the middle
    lift: float  # of the corners
    upper: float  # thickness of the lips
    lower: float

    @property
    def drop(self) -> float:
        """Distance by which the lower lip, and the jaw with it, is lowered."""
        return 0.88 * self.opening

    def along(self, x: np.ndarray | float) -> np.ndarray | float:
        return x / self.width

    def line(self, x: np.ndarray | float) -> np.ndarray | float:
        """Return y of the closed mouth: a shallow wave with lifted corners."""
        q = np.minimum(np.abs(self.along(x)), 1.4)
        return self.y - self.lift * q * q + 0.012 * np.cos(np.pi * np.minimum(q, 1))

    def upper_inner(self, x: np.ndarray | float) -> np.ndarray | float:
        return self.line(x) - (self.opening - self.drop) * arc(self.along(x))

    def lower_inner(self, x: np.ndarray | float) -> np.ndarray | float:
        return self.line(x) + self.drop * arc(self.along(x))

    def upper_outer(self, x: np.ndarray | float) -> np.ndarray | float:
        bow = 1 - 0.28 * np.exp(-((x / 0.035) ** 2))  # Cupid's
        return self.upper_inner(x) - self.upper * bow * arc(self.along(x)) ** 0.75

    def lower_outer(self, x: np.ndarray | float) -> np.ndarray | float:
        return self.lower_inner(x) + self.lower * arc(self.along(x)) ** 0.6


def mouth(identity: Identity, pose: Pose) -> Mouth:
    """Place the mouth; rounded lips are narrow and thick, smiling ones wide and thin."""
    thickness = identity.lip_thickness * (1 + 0.3 * max(-pose.stretch, 0) - 0.15 * pose.smile)
    width = identity.mouth_width * (1 + 0.16 * pose.stretch + 0.16 * pose.smile - 0.08 * pose.jaw)
    return Mouth(
        y=identity.mouth_y,
        width=width,
        opening=0.24 * pose.jaw * (1 - 0.2 * abs(pose.stretch)),
        lift=0.07 * pose.smile,
        upper=0.85 * thickness,
        lower=thickness,
    )


class Brow(NamedTuple):
    """Brow over one eye."""

    side: int
    x: float  # of its middle
    y: float
    width: float  # half of it
    arch: float
    thickness: float

    def along(self, x: np.ndarray) -> np.ndarray:
        """Return the place along the brow: -1 at the inner end, 1 at the outer end."""
        return self.side * (x - self.x) / self.width

    def middle(self, along: np.ndarray | float) -> np.ndarray | float:
        return self.y - self.arch * (1 - (along - 0.35) ** 2) + 0.02 * along

    def half_thickness(self, along: np.ndarray | float) -> np.ndarray | float:
        return self.thickness * np.clip(1 - 0.42 * (along + 0.55) ** 2, 0, 1)


def brows(identity: Identity, pose: Pose) -> tuple[Brow, ...]:
    return tuple(
        Brow(
            side=side,
            x=side * (identity.eye_x + 0.02),
            y=identity.brow_y - 0.045 * pose.brow,
            width=1.3 * identity.eye_width,
            arch=identity.brow_arch,
            thickness=identity.brow_thickness,
        )
        for side in (-1, 1)
    )
