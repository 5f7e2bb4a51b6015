"""Find the driving frame that relative motion best starts from.

It has the landmarks that are most like the source's, or where the network finds landmarks the most
neutral face.
"""

import logging
from functools import cache

import numpy as np

from animation.animator import Animator, batches
from animation.driving import Driving, DrivingVideo
from animation.motion_transfer import frames_of, shape_distances
from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks, Landmarks
from media.pictures import Picture, Pictures
from modules.geometry import Keypoints

logger = logging.getLogger(__name__)


def neutral_keypoints(
    animator: Animator, source: Picture, driving: Driving, batch_size: int | None
) -> Keypoints:
    """Find the keypoints (1, K, ...) of the most neutral face, from the first face on.

    The driving motion is read to its end for it, and then once more to be rendered.
    """
    motion, first = driving.all_keypoints(batch_size), driving.initial
    number = first + animator.neutral_frame(source, frames_of(motion, slice(first, None)))
    if number > 0:
        logger.info("Motion is relative to frame %d, whose face is the most neutral.", number)
    return frames_of(motion, slice(number, number + 1))


def find_best_frame(animator: Animator, source: Picture, driving: DrivingVideo) -> Picture | None:
    """Find the driving frame (H, W, 3) whose landmarks are arranged most like the source's.

    Where no face is found, the network's own keypoints are compared; None where that fails too.
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
        if landmarks and (found := nearest_frame(animator, source, driving, landmarks)):
            number, image = found
            logger.info("Best frame by %s: %d.", way, number)
            return image
    logger.warning(
        "No driving frame can be compared with the source: motion is relative to the first."
    )
    return None


@cache
def landmark_detector(device: str) -> Landmarks | None:
    """Load a detector of facial landmarks in pixels; None where its weights are not available."""
    try:
        return FaceAlignmentLandmarks(device)
    except DetectorUnavailable as error:
        logger.warning("No facial landmarks (%s).", error)
        return None


def nearest_frame(
    animator: Animator, source: Picture, driving: DrivingVideo, landmarks: Landmarks
) -> tuple[int, Picture] | None:
    """Find the number and picture (H, W, 3) of the frame with landmarks most like the source's.

    None where the source, or every driving frame, is without landmarks.
    """
    (target,) = landmarks([source])
    if np.isnan(target).any():
        return None

    def compare(batch: list[Picture]) -> tuple[list[Picture], np.ndarray]:
        return batch, shape_distances(landmarks(batch), target)

    nearest, found = np.inf, None
    start = 0
    images = (frame.image for frame in driving.frames())
    compared = animator.streams.map(compare, batches(images, animator.batch_size))
    for batch, distances in compared:
        i = int(distances.argmin())
        if distances[i] < nearest:
            nearest, found = distances[i], (start + i, batch[i])
        start += len(batch)
    return found


class NetworkLandmarks:
    """Landmarks by the landmark detector of a network, which finds a face in every picture."""

    def __init__(self, animator: Animator) -> None:
        """Use an animator that detects landmarks and resizes whole pictures."""
        assert animator.detects_landmarks
        self.animator = animator

    def __call__(self, frames: Pictures) -> np.ndarray:
        """Find the landmarks of frames in pixels (x, y): (N, 68, 2)."""
        found = self.animator.detect(list(frames)).landmarks.double().cpu().numpy()
        height, width = frames[0].shape[:2]
        return (found + 1) / 2 * [width - 1, height - 1]
