"""Inputs that metrics are made from: device, options, landmark detector, evaluated network."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from animation.animator import Animator
from animation.best_frame import NetworkLandmarks
from evaluation.command_line import MeasureOptions
from evaluation.metrics.interface import Unavailable
from evaluation.metrics.landmarks import CachedLandmarks
from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks, Landmarks
from modules.checkpoints import weights_file
from utils.files import file_sha256

NamedDetector = tuple[Landmarks, str]


@dataclass(frozen=True, eq=False)
class MetricInputs:
    """Files and networks that metrics are made from; raises Unavailable where one is missing."""

    device: torch.device
    options: MeasureOptions
    has_source: bool = True
    cross_identity: bool = False
    network: Animator | None = None  # that made the frames; its detectors find keypoints, landmarks

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
            if self.network is None or not self.network.detects_landmarks:
                raise Unavailable(
                    f"{str(error).rstrip('.')}; a --checkpoint whose network has a landmark "
                    "detector would serve too."
                ) from error
        name = f"the network's own landmark detector, {self.named_network()}"
        return NetworkLandmarks(self.network), name

    def file(self, option: str) -> Path:
        """Return the file of weights that the user named with an option."""
        path: Path | None = getattr(self.options, option)
        if path is None:
            raise Unavailable(f"no weights file is named: give one with --{option}.")
        return path

    def named_network(self) -> str:
        """Name the file of weights of the network that made the frames."""
        assert self.network is not None
        assert self.network.checkpoint is not None
        return self.named_weights(weights_file(self.network.checkpoint))

    @staticmethod
    def named_weights(weights: Path) -> str:
        """Name a file of weights with its SHA-256."""
        return f"{weights.name}, sha256 {file_sha256(weights)}"
