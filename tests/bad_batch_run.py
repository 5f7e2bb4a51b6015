"""A run of several processes in which the last one gets a batch that is not finite."""

import math
import sys
from pathlib import Path

import torch

from config import load_config
from tests.tiny_run import begin

if __name__ == "__main__":
    training = begin(load_config(sys.argv[1]), Path(sys.argv[2]))
    optimisation, batches = training.optimisation, training.batches()
    last = training.accelerator.is_last_process
    optimisation.take_step([next(batches)], 1.0)
    networks = torch.nn.ModuleList([optimisation.model, optimisation.average])
    before = {name: value.clone() for name, value in networks.state_dict().items()}

    bad_batch = next(batches)
    if last:
        bad_batch = bad_batch._replace(driving=bad_batch.driving * torch.nan)
    optimisation.take_step([bad_batch], 1.0)
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())
    optimisation.take_step([next(batches)], 1.0)
    assert optimisation.skipped == 1
    assert all(math.isfinite(mean) for mean in optimisation.report().values())
    assert training.hosts.any(last)
    assert not training.hosts.any(False)
    training.accelerator.wait_for_everyone()
    training.accelerator.end_training()
