"""Validation: scores of a model on unseen clips during training.

Fixed pairs, in batches, are scored in the precision of the training; each rank scores its share of
the batches.  Scores are floats by name.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from datasets.config import DataConfig
from datasets.frame_pairs import FramePairs, collate, fixed_pairs
from datasets.training_clips import training_clips
from evaluation.metrics.clip_metrics import gain_and_correlation
from evaluation.metrics.pixels import score, to_pictures
from modules.face_landmarks import Expressions, eye_distance, measure_expressions
from modules.mcnet import MCNet
from training.visualizer import landmark_grid, picture_grid
from utils.errors import InputError

GRID_ROWS = 4

Scores = dict[str, float]


def validation_batches(config: DataConfig, count: int, batch_size: int) -> list[FramePairs]:
    """Load ``count`` fixed pairs of the test split, in batches."""
    pairs = fixed_pairs(training_clips(config, "test"), config, count)
    batches = [pairs[start : start + batch_size] for start in range(0, len(pairs), batch_size)]
    return [collate(batch).frames(torch.device("cpu")) for batch in batches]


class Validation:
    """Scores of generated frames: L1, PSNR (dB), SSIM, and their expressions.

    Gain (1 = equal) and correlation of the changes of expression between source and driving frame
    are measured where the pairs have labelled landmarks and the model finds those of its result.
    """

    def __init__(self, batches: list[FramePairs], accelerator: Accelerator) -> None:
        self.batches, self.accelerator = batches, accelerator
        self.baseline = self.picture_scores(lambda pairs: pairs.source)  # the source, copied

    def score(self, model: MCNet) -> Scores:
        """Compute the mean scores of a model in eval mode."""
        scores = self.picture_scores(lambda pairs: model(pairs.source, pairs.driving).prediction)
        if (detector := model.landmark_detector) is None:
            return scores

        def find(pairs: FramePairs) -> tuple[Tensor, Tensor]:
            prediction = model(pairs.source, pairs.driving).prediction
            return detector(pairs.source), detector(prediction)

        return scores | self.expression_scores(find)

    def selection_score(self, scores: Scores) -> float:
        """Return the score by which the best weights are chosen: higher is better."""
        return scores["psnr"]

    def describe(self, scores: Scores) -> str:
        """Write the scores in words, with those of copying the source."""
        copied = self.baseline
        return (
            f"PSNR {scores['psnr']:.2f} dB (copying the source {copied['psnr']:.2f}), "
            f"SSIM {scores['ssim']:.3f} ({copied['ssim']:.3f}), "
            f"L1 {scores['l1']:.4f} ({copied['l1']:.4f}){describe_expressions(scores)}"
        )

    def grid(self, model: MCNet) -> np.ndarray:
        """Draw the first pairs through the stages of the model: (height, width, 3) uint8."""
        pairs = self.on_device(self.batches[0], GRID_ROWS)
        with self.accelerator.autocast():
            return picture_grid(model, pairs.source, pairs.driving)

    def picture_scores(self, predict: Callable[[FramePairs], Tensor]) -> Scores:
        """Average the scores; PSNR leaves out identical pictures, which are counted instead."""

        def measure(pairs: FramePairs) -> Tensor:
            pictures = zip(to_pictures(predict(pairs)), to_pictures(pairs.driving), strict=True)
            return torch.tensor([score(*both) for both in pictures])

        l1, psnr, ssim = self.rows(measure).T
        different = np.isfinite(psnr)
        return {
            "l1": float(l1.mean()),
            "psnr": float(psnr[different].mean()) if different.any() else math.nan,
            "ssim": float(ssim.mean()),
            "identical": float((~different).sum()),
        }

    def expression_scores(self, find: Callable[[FramePairs], tuple[Tensor, Tensor]]) -> Scores:
        """Compute slope and correlation of the found changes of expression on the labelled ones.

        ``find`` returns landmarks (B, 68, 2) of the source, and of the driving frame or result.
        """

        def measure(pairs: FramePairs) -> Tensor:
            labelled, found = change(*pairs.landmarks.unbind(dim=1)), change(*find(pairs))
            return torch.cat([labelled, found], dim=1)

        rows = self.rows(measure)
        rows = rows[np.isfinite(rows).all(axis=1)]
        if len(rows) < 2:
            return {}
        scores: Scores = {}
        for name, x, y in zip(Expressions._fields, *np.split(rows.T, 2), strict=True):
            scores[f"{name}_gain"], scores[f"{name}_corr"] = gain_and_correlation(x, y)
        return scores

    @torch.no_grad()
    def rows(self, measure: Callable[[FramePairs], Tensor]) -> np.ndarray:
        """Collect what ``measure`` returns for a batch, (pairs, values), over all ranks."""
        rank, num_processes = self.accelerator.process_index, self.accelerator.num_processes
        rows: list[list[float]] = []
        for batch in self.batches[rank::num_processes]:
            with self.accelerator.autocast():
                rows += measure(self.on_device(batch)).tolist()
        return np.array(gather_object(rows))

    def on_device(self, pairs: FramePairs, count: int | None = None) -> FramePairs:
        """Copy the first ``count`` pairs to the device, or all."""
        return FramePairs(*(part[:count].to(self.accelerator.device) for part in pairs))


class LandmarkValidation(Validation):
    """Scores of a landmark detector: its error on the driving frames, and its expressions."""

    def __init__(self, batches: list[FramePairs], accelerator: Accelerator) -> None:
        """Score the source's landmarks; raises InputError where no pair has labelled ones."""
        self.batches, self.accelerator = batches, accelerator
        self.baseline = self.error(lambda pairs: pairs.landmarks[:, 0])  # the source's

    def score(self, model: MCNet) -> Scores:
        """Compute the scores of the landmark detector of a model in eval mode."""
        detector = model.landmark_detector
        assert detector is not None
        return self.error(lambda pairs: detector(pairs.driving)) | self.expression_scores(
            lambda pairs: (detector(pairs.source), detector(pairs.driving))
        )

    def selection_score(self, scores: Scores) -> float:
        """Return the score by which the best weights are chosen: higher is better."""
        return -scores["landmark_error"]

    def describe(self, scores: Scores) -> str:
        """Write the scores in words, with those of the source's landmarks."""
        return (
            f"landmarks off by {scores['landmark_error']:.2%} of the distance of the eyes (those "
            f"of the source {self.baseline['landmark_error']:.2%}){describe_expressions(scores)}"
        )

    def grid(self, model: MCNet) -> np.ndarray:
        """Draw driving frames with labelled and with found landmarks: (height, width, 3) uint8."""
        pairs = self.on_device(self.batches[0], 4 * GRID_ROWS)
        with torch.no_grad(), self.accelerator.autocast():
            assert model.landmark_detector is not None
            found = model.landmark_detector(pairs.driving)
        return landmark_grid(pairs.driving, pairs.landmarks[:, 1], found)

    def error(self, find: Callable[[FramePairs], Tensor]) -> Scores:
        """Average the distance of landmarks (B, 68, 2) from the labelled ones, in eye distances."""

        def measure(pairs: FramePairs) -> Tensor:
            true = pairs.landmarks[:, 1]
            distances = (find(pairs) - true).norm(dim=2).mean(dim=1)
            return (distances / eye_distance(true))[:, None]

        errors = self.rows(measure)
        if np.isnan(errors).all():
            raise InputError(
                "No face of the test split has labelled landmarks, and the landmark detector is "
                "measured by them: set data.landmarks to a folder that has them."
            )
        return {"landmark_error": float(np.nanmean(errors))}


def change(before: Tensor, after: Tensor) -> Tensor:
    """Measure the changes of expression between landmarks (B, 68, 2): (B, 4)."""
    return torch.stack(measure_expressions(after), 1) - torch.stack(measure_expressions(before), 1)


def describe_expressions(scores: Scores) -> str:
    """Write gain and correlation of each expression, where they were measured."""
    each = [
        f"{name} {scores[f'{name}_gain']:.2f} / {scores[f'{name}_corr']:.2f}"
        for name in Expressions._fields
        if f"{name}_gain" in scores
    ]
    return f"; gain / correlation: {', '.join(each)}" if each else ""
