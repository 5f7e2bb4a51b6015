"""Metrics of one evaluation: those that are wanted and available, made from the registry."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from animation.animator import Animator
from animation.best_frame import NetworkLandmarks
from evaluation.command_line import MeasureOptions
from evaluation.metrics.interface import ClipMetric, FeatureExtractor, FrameMetric, Unavailable
from evaluation.metrics.landmarks import CachedLandmarks
from evaluation.metrics.registry import COLUMNS, METRICS, RegisteredMetric
from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks, Landmarks
from modules.checkpoints import weights_file
from utils.errors import InputError
from utils.files import file_sha256

logger = logging.getLogger(__name__)

ACROSS_IDENTITIES = "it compares with the true frame, and of another person there is none."
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


@dataclass
class AvailableMetrics:
    """Metrics that are computed of every batch, and the reasons why others are not."""

    frame_metrics: list[FrameMetric] = field(default_factory=list)
    clip_metrics: list[ClipMetric] = field(default_factory=list)
    features: FeatureExtractor | None = None  # of the Fréchet distance
    columns: list[str] = field(default_factory=list)  # that the frame and clip metrics fill
    unavailable: dict[str, str] = field(default_factory=dict)  # column -> why
    networks: dict[str, str] = field(default_factory=dict)  # column -> network that computes it
    copied: list[FrameMetric] = field(default_factory=list)  # that measure the copied source too

    @property
    def copied_columns(self) -> list[str]:
        """The columns that are also filled for the source in the place of the result."""
        return [c for c in self.columns if self.copied and COLUMNS[c].needs_truth]

    def add(self, entry: RegisteredMetric, columns: Sequence[str], inputs: MetricInputs) -> None:
        """Make the metric of an entry for some of its columns, or note why it is unavailable."""
        try:
            metric, source = entry.make(inputs, columns)
        except Unavailable as error:
            self.unavailable.update(dict.fromkeys(columns, str(error)))
            return
        self.networks.update(dict.fromkeys(columns, source) if source else {})
        if entry.measures == "all frames":
            self.features = metric
            return
        self.columns.extend(columns)
        if entry.measures == "clip":
            self.clip_metrics.append(metric)
            return
        self.frame_metrics.append(metric)
        if inputs.has_source and any(COLUMNS[column].needs_truth for column in columns):
            self.copied.append(metric)


def available_metrics(wanted: Sequence[str], inputs: MetricInputs) -> AvailableMetrics:
    """Make the metrics that fill the wanted columns, of those that are available here."""
    folder = inputs.options.landmarks
    if folder is not None and not folder.is_dir():
        raise InputError(
            f"The folder of landmarks {folder} does not exist: make it with "
            "python -m datasets landmarks."
        )
    metrics = AvailableMetrics()
    if inputs.cross_identity:
        without_truth = [column for column in wanted if COLUMNS[column].needs_truth]
        metrics.unavailable.update(dict.fromkeys(without_truth, ACROSS_IDENTITIES))
    for entry in METRICS:
        columns = [c for c in entry.columns if c in wanted and c not in metrics.unavailable]
        if columns:
            metrics.add(entry, columns, inputs)
    for column, reason in metrics.unavailable.items():
        logger.warning("%s is unavailable: %s", COLUMNS[column].title, reason)
    return metrics
