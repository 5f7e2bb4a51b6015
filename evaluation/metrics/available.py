"""Metrics of one evaluation: those that are wanted and available, made from the registry."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from evaluation.metrics.inputs import MetricInputs
from evaluation.metrics.interface import ClipMetric, FeatureExtractor, FrameMetric, Unavailable
from evaluation.metrics.registry import COLUMNS, METRICS, RegisteredMetric
from utils.errors import InputError

logger = logging.getLogger(__name__)

ACROSS_IDENTITIES = "it compares with the true frame, and of another person there is none."


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
