"""The metrics of an evaluation: which are asked for, and which of them can be had."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from evaluation.columns import COLUMNS
from evaluation.expression import ExpressionDistance, PyFeatDetector
from evaluation.frechet import InceptionFeatures
from evaluation.identity import (
    ArcFaceEmbedder,
    IdentityDistance,
    IdentitySimilarity,
    OpenFaceEmbedder,
)
from evaluation.keypoint_distance import KeypointDistance
from evaluation.landmarks import FaceAlignmentLandmarks, Landmarks, Remembered
from evaluation.lpips import Lpips
from evaluation.metric import ClipMetric, Metric, Unavailable, file_sha256
from evaluation.metrics import PICTURE_METRICS, PictureMetrics
from evaluation.motion_correlation import MotionCorrelation
from evaluation.sharpness import Sharpness
from modules.animator import Animator
from modules.checkpoints import weights_file
from modules.errors import InputError

logger = logging.getLogger(__name__)

ACROSS_IDENTITIES = "it compares with the true frame, and of another person there is none."


Made = tuple[Metric, str]  # with what network computes it, "" for a formula


class WeightFiles(NamedTuple):
    """The files of networks that the user has to name."""

    openface: Path | None = None
    arcface: Path | None = None


class Network(NamedTuple):
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
    network: Network | None = None,
) -> Suite:
    """The metrics that fill the wanted columns, of those that can be had here.

    ``network``: what made the frames, to see how their keypoints move.
    """

    @cache
    def landmarks() -> tuple[Landmarks, str]:
        detector = FaceAlignmentLandmarks(str(device))
        return Remembered(detector), detector.name

    def pictures(columns: Sequence[str]) -> Made:
        return PictureMetrics(columns), ""

    def sharpness(columns: Sequence[str]) -> Made:
        return Sharpness(), ""

    def lpips_alex(columns: Sequence[str]) -> Made:
        metric = Lpips("alex", columns, device)
        return metric, described(metric.weights)

    def lpips_vgg(columns: Sequence[str]) -> Made:
        metric = Lpips("vgg", columns, device)
        return metric, described(metric.weights)

    def keypoints(columns: Sequence[str]) -> Made:
        detector, name = landmarks()
        return KeypointDistance(detector, columns), name

    def identity(columns: Sequence[str]) -> Made:
        path = named(files.openface, "openface")
        return IdentityDistance(OpenFaceEmbedder(path, device), columns), described(path)

    def similarity(columns: Sequence[str]) -> Made:
        if not has_source:
            raise Unavailable("it needs the source pictures: name their folder with --source.")
        path = named(files.arcface, "arcface")
        embedder = ArcFaceEmbedder(path, device)
        detector, name = landmarks()
        return IdentitySimilarity(detector, embedder), f"{described(path)}; {name}"

    def expression(columns: Sequence[str]) -> Made:
        detector = PyFeatDetector(str(device))
        return ExpressionDistance(detector, columns), f"{detector.name} {detector.version}"

    makers: list[tuple[Sequence[str], Callable[[Sequence[str]], Made]]] = [
        (list(PICTURE_METRICS), pictures),
        (["sharpness"], sharpness),
        (["lpips_alex", "lpips_alex_reference"], lpips_alex),
        (["lpips_vgg"], lpips_vgg),
        (["akd", "akd_reference", "mkr"], keypoints),
        (["aed", "aed_reference"], identity),
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
        if not columns:
            continue
        try:
            metric, by = make(columns)
        except Unavailable as error:
            suite.unavailable.update(dict.fromkeys(columns, str(error)))
        else:
            suite.metrics.append(metric)
            suite.columns.extend(columns)
            suite.networks.update(dict.fromkeys(columns, by) if by else {})
            if has_source and any(COLUMNS[c].needs_truth for c in columns):
                suite = suite._replace(copied=[*suite.copied, metric])
    if "motion" in wanted:
        suite = with_motion(suite, network)
    if "fid" in wanted:
        suite = with_features(suite, device)
    for column, reason in suite.unavailable.items():
        logger.warning("%s is unavailable: %s", COLUMNS[column].title, reason)
    return suite


def with_motion(suite: Suite, network: Network | None) -> Suite:
    """A suite that also measures clips."""
    if network is None:
        suite.unavailable["motion"] = "it needs the network's keypoints: name its --checkpoint."
        return suite
    suite.columns.append("motion")
    suite.networks["motion"] = described(weights_file(network.checkpoint))
    return suite._replace(clip_metrics=[MotionCorrelation(network.animator.detect)])


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
