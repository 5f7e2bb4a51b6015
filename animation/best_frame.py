"""A portrait animated by all frames of a file: absolute motion, or relative to the best frame.

Relative motion counts from a driving frame, best from the one most like the source.
"""

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal, NamedTuple

import numpy as np

from animation.animator import Animator, Motion, batches
from animation.driving import Driving, DrivingFrame, DrivingVideo
from animation.motion_transfer import AS_DRIVEN, MotionStrength, shape_distances
from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks, Landmarks, Pictures
from media.pictures import Picture
from modules.geometry import Keypoints
from utils.errors import InputError

BestFrame = int | Literal["auto"]

WAITING = 32  # frames that may wait to be written

logger = logging.getLogger(__name__)


class Options(NamedTuple):
    """How a source is animated, whatever the files."""

    motion: Motion | None = None  # None: relative, and for pairs what their protocol prescribes
    adapt_scale: bool = False  # relative motion grows with the source's face
    best_frame: BestFrame | None = None  # that motion counts from; None: ``initial_keypoints``
    panels: bool = False  # source, driving and result side by side
    batch_size: int | None = None  # frames rendered at once; None: what suits the device
    strength: MotionStrength = AS_DRIVEN  # of relative motion


@contextmanager
def animated(
    animator: Animator,
    portrait: Picture,
    driving: Driving,
    initial: Keypoints | None,
    options: Options,
) -> Iterator[Iterator[tuple[DrivingFrame, Picture]]]:
    """Each moment of the driving motion, with what the portrait becomes by it."""
    with driving.motion(options.batch_size) as motion:
        # Two readers of one stream: the one returned is at most two batches behind the network's.
        returned, given = itertools.tee(motion)
        results = animator.animate_keypoints(
            portrait,
            (keypoints for _, keypoints in given),
            motion=options.motion or "relative",
            adapt_scale=options.adapt_scale,
            initial=initial,
            strength=options.strength,
        )
        moments = itertools.chain.from_iterable(moments for moments, _ in returned)
        yield zip(moments, results, strict=True)


def initial_keypoints(
    animator: Animator, portrait: Picture, driving: Driving, options: Options
) -> Keypoints | None:
    """Those of the driving frame that relative motion counts from; None for the first.

    If no frame is named, that is the first that shows the face, or the one with the most neutral
    face where the network finds landmarks.
    """
    if options.motion == "absolute":
        return None
    if options.best_frame is None:
        if animator.has_landmarks:
            return neutral_keypoints(animator, portrait, driving, options)
        if driving.initial == 0:
            return None
        logger.info(
            "Motion counts from frame %d, the first that shows the face: --best-frame chooses "
            "another.",
            driving.initial,
        )
        return driving.keypoints_at(driving.initial, options.batch_size)
    if options.best_frame != "auto":
        return driving.keypoints_at(options.best_frame, options.batch_size)
    if not isinstance(driving, DrivingVideo):
        raise InputError(
            f"--best-frame auto looks at the driving frames, which {driving.path} does not hold: "
            "give the number of a frame."
        )
    best = find_best_frame(animator, portrait, driving)
    return None if best is None else animator.detect([best])


def neutral_keypoints(
    animator: Animator, portrait: Picture, driving: Driving, options: Options
) -> Keypoints:
    """The keypoints of the frame with the most neutral face, of those since the face is shown.

    The driving motion is gone through for it, and then once more to be rendered.
    """
    motion, first = driving.all_keypoints(options.batch_size), driving.initial
    shown = Keypoints(*(part[first:] for part in motion))
    number = first + animator.neutral_frame(portrait, shown)
    if number > 0:
        logger.info("Motion counts from frame %d, whose face is the most neutral.", number)
    return Keypoints(*(part[number : number + 1] for part in motion))


def find_best_frame(animator: Animator, portrait: Picture, driving: DrivingVideo) -> Picture | None:
    """The driving frame whose facial landmarks are arranged most like the source's.

    Where no face is found, the network's own keypoints stand for the landmarks; None where not
    even they can be compared.
    """
    ways: dict[str, Landmarks | None] = {
        "facial landmarks": (
            NetworkLandmarks(animator)
            if animator.detects_landmarks
            else landmark_detector(str(animator.device))
        ),
        "the network's own keypoints": lambda frames: (
            animator.detect(frames).positions.cpu().numpy()
        ),
    }
    for way, landmarks in ways.items():
        if landmarks and (found := nearest_frame(animator, portrait, driving, landmarks)):
            number, image = found
            logger.info("Best frame by %s: %d.", way, number)
            return image
    logger.warning(
        "No driving frame can be compared with the source: motion counts from the first."
    )
    return None


@cache
def landmark_detector(device: str) -> Landmarks | None:
    """What finds facial landmarks, or None where its weights cannot be had."""
    try:
        return FaceAlignmentLandmarks(device)
    except DetectorUnavailable as error:
        logger.warning("No facial landmarks (%s).", error)
        return None


def nearest_frame(
    animator: Animator, portrait: Picture, driving: DrivingVideo, landmarks: Landmarks
) -> tuple[int, Picture] | None:
    """The number and picture of the driving frame whose landmarks are most like the source's.

    None where the source, or every driving frame, is without landmarks.
    """
    (target,) = landmarks([portrait])
    if np.isnan(target).any():
        return None
    nearest, found = np.inf, None
    start = 0
    images = (frame.image for frame in driving.frames())
    for batch in batches(images, animator.batch_size):
        distances = shape_distances(landmarks(batch), target)
        i = int(distances.argmin())
        if distances[i] < nearest:
            nearest, found = distances[i], (start + i, batch[i])
        start += len(batch)
    return found


class NetworkLandmarks:
    """Landmarks by the landmark detector of an evaluated network; there is always a face to it."""

    def __init__(self, animator: Animator) -> None:
        """``animator`` resizes whole pictures, as those of an evaluation do."""
        assert animator.detects_landmarks
        self.animator = animator

    def __call__(self, frames: Pictures) -> np.ndarray:
        """The landmarks of each frame: (N, 68, 2)."""
        found = self.animator.detect(list(frames)).landmarks.double().cpu().numpy()
        height, width = frames[0].shape[:2]
        return (found + 1) / 2 * [width - 1, height - 1]
