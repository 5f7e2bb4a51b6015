"""How well a model reproduces driving frames of unseen clips, as the training watches it."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from evaluation.grid import picture_grid
from evaluation.metrics import Scores, score, to_pictures
from modules.mcnet import MCNet

GRID_ROWS = 4


class Validation:
    """Fixed pairs, in batches of (source, driving), scored in the precision of the training.

    The processes share the batches out.
    """

    def __init__(self, batches: list[tuple[Tensor, Tensor]], accelerator: Accelerator) -> None:
        self.batches, self.accelerator = batches, accelerator
        self.copy_source = self.mean_scores(lambda source, driving: source)  # the floor

    def score(self, model: MCNet) -> Scores:
        """The mean scores of a model in eval mode."""
        return self.mean_scores(lambda source, driving: model(source, driving).prediction)

    def grid(self, model: MCNet) -> np.ndarray:
        """What the model makes of the first pairs, stage by stage: (height, width, 3) uint8."""
        source, driving = (x[:GRID_ROWS].to(self.accelerator.device) for x in self.batches[0])
        with self.accelerator.autocast():
            return picture_grid(model, source, driving)

    @torch.no_grad()
    def mean_scores(self, predict: Callable[[Tensor, Tensor], Tensor]) -> Scores:
        device = self.accelerator.device
        sums = torch.zeros(1 + len(Scores._fields), device=device)  # count, then scores
        rank, num_processes = self.accelerator.process_index, self.accelerator.num_processes
        for batch in self.batches[rank::num_processes]:
            source, driving = (images.to(device) for images in batch)
            with self.accelerator.autocast():
                predictions = to_pictures(predict(source, driving))
            for prediction, truth in zip(predictions, to_pictures(driving), strict=True):
                sums += torch.tensor([1, *score(prediction, truth)], device=device)
        count, *totals = self.accelerator.reduce(sums, "sum").tolist()
        return Scores(*(total / count for total in totals))
