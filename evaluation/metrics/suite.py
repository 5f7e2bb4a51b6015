"""The metrics of an evaluation: which are asked for, and which of them can be had."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch

from animation.animator import Animator
from animation.best_frame import NetworkLandmarks
from evaluation.metrics import expression_transfer
from evaluation.metrics.expression_transfer import ExpressionTransfer
from evaluation.metrics.fid import InceptionFeatures
from evaluation.metrics.identity import (
    ArcFaceEmbedder,
    IdentityDistance,
    IdentitySimilarity,
    OpenFaceEmbedder,
)
from evaluation.metrics.keypoint_distance import KeypointDistance
from evaluation.metrics.landmarks import CachedLandmarks
from evaluation.metrics.lpips import Lpips
from evaluation.metrics.metric import ClipMetric, Metric, Unavailable
from evaluation.metrics.motion_correlation import MotionCorrelation
from evaluation.metrics.pixels import PICTURE_METRICS, PictureMetrics
from evaluation.metrics.pose_expression import ExpressionDistance, PyFeatDetector
from evaluation.metrics.registry import COLUMNS
from evaluation.metrics.sharpness import Sharpness
from faces.detectors import DetectorUnavailable
from faces.landmarks import FaceAlignmentLandmarks, Landmarks
from modules.checkpoints import weights_file
from utils.errors import InputError
from utils.files import file_sha256

logger = logging.getLogger(__name__)

ACROSS_IDENTITIES = "it compares with the true frame, and of another person there is none."

M = TypeVar("M", Metric, ClipMetric)
MetricAndSource = tuple[M, str]  # with what network computes it, "" for a formula
NamedDetector = tuple[Landmarks, str]


class WeightFiles(NamedTuple):
    """The files of networks that the user has to name."""

    openface: Path | None = None
    arcface: Path | None = None


class EvaluatedNetwork(NamedTuple):
    """A network of this project, whose detector is to find keypoints."""

    animator: Animator
    checkpoint: Path


class Suite(NamedTuple):
    """What is computed of every batch, and what cannot be."""

    metrics: list[Metric]
    columns: list[str]  # that they fill
    features: Callable[[np.ndarray], np.ndarray] | None  # of the Fréchet distance
    unavailable: dict[str, str]  # column -> why
    networks: dict[str, str]  # column -> what computes it, as far as that is more than a formula
    clip_metrics: Sequence[ClipMetric] = ()  # they fill columns too
    copied: Sequence[Metric] = ()  # of the metrics, those that measure the copied source too

    @property
    def copied_columns(self) -> list[str]:
        """The columns that are also filled for the source in the place of the result."""
        return [c for c in self.columns if self.copied and COLUMNS[c].needs_truth]


def parse_metrics(text: str) -> list[str]:
    """The columns that ``--metrics`` names: "all", or names with commas between them."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in {"all", *COLUMNS}:
            raise InputError(f"No metric is called {name!r}: choose all, {', '.join(COLUMNS)}.")
    return [column for column in COLUMNS if column in names or "all" in names]


def build_suite(
    wanted: Sequence[str],
    device: torch.device,
    files: WeightFiles,
    *,
    has_source: bool,
    cross_identity: bool,
    network: EvaluatedNetwork | None = None,
    given_landmarks: Path | None = None,
) -> Suite:
    """The metrics that fill the wanted columns, of those that can be had here.

    ``network``: what made the frames, to see how their keypoints move.  ``given_landmarks``: the
    folder that the landmarks which come with the real frames are from.
    """
    if given_landmarks is not None and not given_landmarks.is_dir():
        raise InputError(
            f"The folder of landmarks {given_landmarks} does not exist: make it with "
            "python -m datasets landmarks."
        )

    @cache
    def landmarks() -> NamedDetector:
        try:
            detector = FaceAlignmentLandmarks(str(device))
        except DetectorUnavailable as error:
            raise Unavailable(str(error)) from error
        return CachedLandmarks(detector), detector.name

    def pictures(columns: Sequence[str]) -> MetricAndSource[Metric]:
        return PictureMetrics(columns), ""

    def sharpness(columns: Sequence[str]) -> MetricAndSource[Metric]:
        return Sharpness(), ""

    def lpips_alex(columns: Sequence[str]) -> MetricAndSource[Metric]:
        metric = Lpips("alex", columns, device)
        return metric, described(metric.weights)

    def lpips_vgg(columns: Sequence[str]) -> MetricAndSource[Metric]:
        metric = Lpips("vgg", columns, device)
        return metric, described(metric.weights)

    def keypoints(columns: Sequence[str]) -> MetricAndSource[Metric]:
        detector, name = landmarks()
        return KeypointDistance(detector, columns), name

    def identity(columns: Sequence[str]) -> MetricAndSource[Metric]:
        path = named(files.openface, "openface")
        return IdentityDistance(OpenFaceEmbedder(path, device), columns), described(path)

    def similarity(columns: Sequence[str]) -> MetricAndSource[Metric]:
        if not has_source:
            raise Unavailable("it needs the source pictures: name their folder with --source.")
        path = named(files.arcface, "arcface")
        embedder = ArcFaceEmbedder(path, device)
        detector, name = landmarks()
        return IdentitySimilarity(detector, embedder), f"{described(path)}; {name}"

    def expression(columns: Sequence[str]) -> MetricAndSource[Metric]:
        detector = PyFeatDetector(str(device))
        return ExpressionDistance(detector, columns), f"{detector.name} {detector.version}"

    makers: list[tuple[Sequence[str], Callable[[Sequence[str]], MetricAndSource[Metric]]]] = [
        (list(PICTURE_METRICS), pictures),
        (["sharpness"], sharpness),
        (["lpips_alex", "lpips_alex_published"], lpips_alex),
        (["lpips_vgg"], lpips_vgg),
        (["akd", "akd_published", "mkr"], keypoints),
        (["aed", "aed_published"], identity),
        (["csim"], similarity),
        (["pose_rmse", "au_hamming"], expression),
    ]
    suite = Suite([], [], None, {}, {})
    if cross_identity:
        suite.unavailable.update(
            {column: ACROSS_IDENTITIES for column in wanted if COLUMNS[column].needs_truth}
        )
    for group, make in makers:
        columns = [c for c in group if c in wanted and c not in suite.unavailable]
        if columns and (metric := made_for(columns, make, suite)) is not None:
            suite.metrics.append(metric)
            if has_source and any(COLUMNS[c].needs_truth for c in columns):
                suite = suite._replace(copied=[*suite.copied, metric])
    suite = with_clip_metrics(suite, wanted, network, landmarks, given_landmarks)
    if "fid" in wanted:
        suite = with_features(suite, device)
    for column, reason in suite.unavailable.items():
        logger.warning("%s is unavailable: %s", COLUMNS[column].title, reason)
    return suite


def made_for(
    columns: Sequence[str], make: Callable[[Sequence[str]], MetricAndSource[M]], suite: Suite
) -> M | None:
    """Make the metric of some columns and enter these into the suite, or why they are not there."""
    try:
        metric, by = make(columns)
    except Unavailable as error:
        suite.unavailable.update(dict.fromkeys(columns, str(error)))
        return None
    suite.columns.extend(columns)
    suite.networks.update(dict.fromkeys(columns, by) if by else {})
    return metric


def with_clip_metrics(
    suite: Suite,
    wanted: Sequence[str],
    network: EvaluatedNetwork | None,
    landmarks: Callable[[], NamedDetector],
    given_landmarks: Path | None,
) -> Suite:
    """Add the wanted metrics of clips to a suite."""

    def motion(columns: Sequence[str]) -> MetricAndSource[ClipMetric]:
        if network is None:
            raise Unavailable("it needs the network's keypoints: name its --checkpoint.")
        by = described(weights_file(network.checkpoint))
        return MotionCorrelation(network.animator.detect), by

    def transfer(columns: Sequence[str]) -> MetricAndSource[ClipMetric]:
        detector, by = independent_or_own(landmarks, network)
        if given_landmarks is not None:
            by = f"{by}; of the real frames: files in {given_landmarks}"
        return ExpressionTransfer(detector, columns), by

    makers: list[tuple[Sequence[str], Callable[[Sequence[str]], MetricAndSource[ClipMetric]]]] = [
        (MotionCorrelation.columns, motion),
        (expression_transfer.COLUMNS, transfer),
    ]
    for group, make in makers:
        columns = [c for c in group if c in wanted]
        if columns and (metric := made_for(columns, make, suite)) is not None:
            suite = suite._replace(clip_metrics=[*suite.clip_metrics, metric])
    return suite


def independent_or_own(
    landmarks: Callable[[], NamedDetector], network: EvaluatedNetwork | None
) -> NamedDetector:
    """The landmark detector that knows nothing of the network, else the network's own.

    Raises Unavailable where there is neither.
    """
    try:
        return landmarks()
    except Unavailable as error:
        if network is None or not network.animator.detects_landmarks:
            raise Unavailable(
                f"{str(error).rstrip('.')}; a --checkpoint whose network has a landmark detector "
                "would serve too."
            ) from error
    by = f"the network's own landmark detector, {described(weights_file(network.checkpoint))}"
    return NetworkLandmarks(network.animator), by


def with_features(suite: Suite, device: torch.device) -> Suite:
    """A suite that also measures all frames together."""
    try:
        features = InceptionFeatures(device)
    except Unavailable as error:
        suite.unavailable["fid"] = str(error)
        return suite
    suite.networks["fid"] = described(features.weights)
    return suite._replace(features=features)


def described(weights: Path) -> str:
    """The name of a file of weights, and its hash."""
    return f"{weights.name}, sha256 {file_sha256(weights)}"


def named(file: Path | None, option: str) -> Path:
    """The file that the user named; Unavailable where there is none."""
    if file is None:
        raise Unavailable(f"no weights file is named: give one with --{option}.")
    return file
