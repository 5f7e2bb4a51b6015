"""The mean scores that training watches."""

import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from datasets.frame_pairs import unlabelled
from evaluation.metrics.pixels import psnr, to_pictures
from training.validation import Validation


def test_pairs_of_a_still_clip_are_counted_and_not_in_the_mean():
    torch.manual_seed(0)
    source, driving = torch.rand(2, 3, 3, 16, 24)
    driving[1] = source[1]
    pictures, truths = to_pictures(source), to_pictures(driving)
    expected = np.mean([psnr(pictures[i], truths[i]) for i in (0, 2)])
    accelerator = Accelerator(cpu=True)
    found = Validation([unlabelled(source, driving)], accelerator).baseline
    assert found["psnr"] == pytest.approx(expected, rel=1e-6)
    assert found["identical"] == 1
    still = Validation([unlabelled(source, source)], accelerator).baseline
    assert (still["l1"], still["identical"]) == (0, 3)
    assert math.isnan(still["psnr"])
