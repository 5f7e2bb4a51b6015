"""A portrait animated by all frames of a file: absolute motion, or relative to the best frame.

Relative motion counts from a driving frame, best from the one most like the source.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from datasets.background import ahead
from datasets.pictures import Picture
from datasets.video import Frame, frames_at, read_frames
from evaluation.landmarks import FaceAlignmentLandmarks, Landmarks
from evaluation.metric import Unavailable
from modules.animator import Animator, Motion, batches
from modules.motion_transfer import shape_distances

Fitter = Callable[[Picture], Picture]  # of pictures of any size to the network's
BestFrame = int | Literal["auto"]

WAITING = 32  # frames that may wait to be written

logger = logging.getLogger(__name__)


class Options(NamedTuple):
    """How a source is animated, whatever the files."""

    motion: Motion | None = None  # None: relative, and for pairs what their protocol prescribes
    adapt_scale: bool = False  # relative motion grows with the source's face
    best_frame: BestFrame = 0  # the driving frame that relative motion counts from
    panels: bool = False  # source, driving and result side by side
    batch_size: int | None = None  # frames rendered at once; None: what suits the device


@contextmanager
def animated(
    animator: Animator,
    portrait: np.ndarray,
    driving: Path,
    initial: np.ndarray | None,
    options: Options,
    *,
    fit: Fitter | None = None,
) -> Iterator[Iterator[tuple[Frame, np.ndarray]]]:
    """Each frame of a file, brought to the network's size, with what the portrait becomes by it.

    It is brought there by ``fit``, or else by the animator. A thread reads two batches ahead of the
    network.
    """
    fit = fit or animator.fit
    fitted = (frame._replace(image=fit(frame.image)) for frame in read_frames(driving))
    with ahead(fitted, 2 * (options.batch_size or animator.batch_size)) as frames:
        # Two readers of one stream: the one returned is at most two batches behind the network's.
        returned, given = itertools.tee(frames)
        results = animator.animate(
            portrait,
            (frame.image for frame in given),
            motion=options.motion or "relative",
            adapt_scale=options.adapt_scale,
            initial=initial,
            batch_size=options.batch_size,
        )
        yield zip(returned, results, strict=True)


def initial_frame(
    animator: Animator,
    portrait: np.ndarray,
    driving: Path,
    options: Options,
    *,
    fit: Fitter | None = None,
) -> np.ndarray | None:
    """The driving frame that relative motion counts from, at the network's size.

    None for the first.
    """
    fit = fit or animator.fit
    if options.motion == "absolute" or options.best_frame == 0:
        return None
    if options.best_frame == "auto":
        return find_best_frame(animator, portrait, driving, fit)
    (image,) = frames_at(driving, [options.best_frame])
    return fit(image)


def find_best_frame(
    animator: Animator, portrait: np.ndarray, driving: Path, fit: Fitter
) -> np.ndarray | None:
    """The driving frame whose facial landmarks are arranged most like the source's.

    Where no face is found, the network's own keypoints stand for the landmarks; None where not
    even they can be compared.
    """
    ways: dict[str, Landmarks | None] = {
        "facial landmarks": landmark_detector(str(animator.device)),
        "the network's own keypoints": lambda frames: (
            animator.detect(frames).positions.cpu().numpy()
        ),
    }
    for way, landmarks in ways.items():
        if landmarks and (found := nearest_frame(animator, portrait, driving, landmarks, fit)):
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
    except Unavailable as error:
        logger.warning("No facial landmarks (%s).", error)
        return None


def nearest_frame(
    animator: Animator, portrait: np.ndarray, driving: Path, landmarks: Landmarks, fit: Fitter
) -> tuple[int, np.ndarray] | None:
    """The number and picture of the driving frame whose landmarks are most like the source's.

    None where the source, or every driving frame, is without landmarks.
    """
    (target,) = landmarks([portrait])
    if np.isnan(target).any():
        return None
    nearest, found = np.inf, None
    start = 0
    images = (fit(frame.image) for frame in read_frames(driving))
    for batch in batches(images, animator.batch_size):
        distances = shape_distances(landmarks(batch), target)
        i = int(distances.argmin())
        if distances[i] < nearest:
            nearest, found = distances[i], (start + i, batch[i])
        start += len(batch)
    return found
