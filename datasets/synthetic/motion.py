"""Draw the motion of a generated person: the pose of head and face, frame by frame."""

from typing import NamedTuple

import numpy as np


class Pose(NamedTuple):
    """Pose of head and face; angles in radians, shifts in [-1, 1] image coordinates."""

    yaw: float = 0.0  # towards the right of the picture
    pitch: float = 0.0  # downwards
    roll: float = 0.0  # clockwise
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0
    jaw: float = 0.0  # 0 = mouth closed, 1 = wide open
    stretch: float = 0.0  # -1 = lips rounded, 1 = corners apart
    smile: float = 0.0  # corners up
    blink: float = 0.0  # 0 = eyes open, 1 = shut
    gaze_x: float = 0.0  # -1 to 1
    gaze_y: float = 0.0
    brow: float = 0.0  # raised


AMPLITUDES = {
    # of the tracks that sway, on both sides of rest
    "yaw": np.radians(35),
    "pitch": np.radians(14),
    "roll": np.radians(15),
    "shift_x": 0.24,  # 12 % of the width
    "shift_y": 0.12,
    "scale": 0.1,
    "smile": 0.8,
    "gaze_x": 0.8,
    "gaze_y": 0.4,
    "brow": 1.0,
}


def draw_motion(rng: np.random.Generator, frames: int, rate: float) -> list[Pose]:
    """Draw a random stretch of talking: ``frames`` poses at ``rate`` a second, begun at rest."""
    times = np.arange(frames) / rate
    tracks = {name: peak * _sway(rng, times) for name, peak in AMPLITUDES.items()}
    tracks["scale"] = 1 + tracks["scale"]
    tracks["smile"] = np.maximum(tracks["smile"], 0)
    gaze = tracks["gaze_x"] - 0.6 * tracks["yaw"]  # the eyes stay with the viewer for a while
    tracks["gaze_x"] = np.clip(gaze, -1, 1)
    tracks["jaw"], tracks["stretch"] = _syllables(rng, times)
    tracks["blink"] = _blinks(rng, times)
    return [
        Pose(**{name: float(track[i]) for name, track in tracks.items()}) for i in range(frames)
    ]


def _sway(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Draw a smooth track in [-1, 1] that begins at 0: three slow waves, pressed into the range."""
    waves = np.zeros_like(times)
    for frequency in (0.18, 0.31, 0.5):
        start = 2 * np.pi * rng.random()
        turned = 2 * np.pi * rng.uniform(0.8, 1.2) * frequency * times
        waves += np.sin(start + turned) - np.sin(start)
    return np.tanh(0.6 * waves)


def _syllables(rng: np.random.Generator, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw the opening of the jaw and the stretch of the lips: syllables and pauses."""
    jaw, stretch = np.zeros_like(times), np.zeros_like(times)
    start = rng.uniform(-0.3, 0.2)
    while start < times[-1]:
        length = rng.uniform(0.18, 0.32)
        phase = np.clip((times - start) / length, 0, 1)
        pulse = np.sin(np.pi * phase) ** 2
        jaw += rng.uniform(0.35, 1.0) * pulse
        stretch += rng.uniform(-1, 1) * pulse
        start += length * rng.uniform(0.75, 1.0)
        if rng.random() < 0.1:
            start += rng.uniform(0.2, 0.6)
    return np.clip(jaw, 0, 1), np.clip(stretch, -1, 1)


def _blinks(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """Draw blinks: a fifth of a second every second or three."""
    shut = np.zeros_like(times)
    moment = rng.uniform(0.1, 1.5)
    while moment < times[-1]:
        shut = np.maximum(shut, np.clip(1.6 - np.abs(times - moment) / 0.07, 0, 1))
        moment += rng.uniform(0.9, 3.0)
    return shut
