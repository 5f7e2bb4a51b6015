"""Inputs that metrics are made from: device, weights, landmark detector, evaluated network."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch

from animation.animator import Animator
from animation.best_frame import NetworkLandmarks
from evaluation.metrics.interface import Unavailable
from evaluation.metrics.landmarks import CachedLandmarks
from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks, Landmarks
from modules.checkpoints import weights_file
from utils.files import file_sha256

NamedDetector = tuple[Landmarks, str]


class EvaluatedNetwork(NamedTuple):
    """Network of this project that made the frames; its detectors find keypoints and landmarks."""

    animator: Animator
    checkpoint: Path

    @property
    def weights(self) -> Path:
        """File of the weights."""
        return weights_file(self.checkpoint)


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """Files and networks that metrics are made from; raises Unavailable where one is missing."""

    device: torch.device
    has_source: bool
    cross_identity: bool
    openface: Path | None = None  # weights that the user has to name
    arcface: Path | None = None
    network: EvaluatedNetwork | None = None  # that made the frames
    given_landmarks: Path | None = None  # folder of the landmarks that come with the real frames

    @cached_property
    def landmarks(self) -> NamedDetector:
        """Load the landmark detector that knows nothing of the network, with its name."""
        try:
            detector = FaceAlignmentLandmarks(str(self.device))
        except DetectorUnavailable as error:
            raise Unavailable(str(error)) from error
        return CachedLandmarks(detector), detector.name

    def landmarks_or_own(self) -> NamedDetector:
        """Load the independent landmark detector, or else take that of the evaluated network."""
        try:
            return self.landmarks
        except Unavailable as error:
            if self.network is None or not self.network.animator.detects_landmarks:
                raise Unavailable(
                    f"{str(error).rstrip('.')}; a --checkpoint whose network has a landmark "
                    "detector would serve too."
                ) from error
        name = f"the network's own landmark detector, {self.describe(self.network.weights)}"
        return NetworkLandmarks(self.network.animator), name

    def file(self, option: str) -> Path:
        """Return the file of weights that the user named with an option."""
        path: Path | None = getattr(self, option)
        if path is None:
            raise Unavailable(f"no weights file is named: give one with --{option}.")
        return path

    def require_network(self) -> EvaluatedNetwork:
        """Return the network that made the frames."""
        if self.network is None:
            raise Unavailable("it needs the network's keypoints: name its --checkpoint.")
        return self.network

    def require_source(self) -> None:
        """Check that the source pictures are known."""
        if not self.has_source:
            raise Unavailable("it needs the source pictures: name their folder with --source.")

    @staticmethod
    def describe(weights: Path) -> str:
        """Name a file of weights with its SHA-256."""
        return f"{weights.name}, sha256 {file_sha256(weights)}"
