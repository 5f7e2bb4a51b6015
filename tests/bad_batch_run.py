"""A run of several processes in which the last one gets a batch that is not finite."""

import math
import sys
from pathlib import Path

import torch

from config import load_config
from tests.tiny_run import begin
from training.distributed import any_rank

if __name__ == "__main__":
    trainer = begin(load_config(sys.argv[1]), Path(sys.argv[2]))
    train_step, batches = trainer.train_step, trainer.batches()
    last = trainer.accelerator.is_last_process
    train_step.take_step([next(batches)], 1.0)
    networks = torch.nn.ModuleList([train_step.model, train_step.ema])
    before = {name: value.clone() for name, value in networks.state_dict().items()}

    bad_batch = next(batches)
    if last:
        bad_batch = bad_batch._replace(driving=bad_batch.driving * torch.nan)
    train_step.take_step([bad_batch], 1.0)
    assert all(torch.equal(value, before[name]) for name, value in networks.state_dict().items())
    train_step.take_step([next(batches)], 1.0)
    assert train_step.skipped == 1
    assert all(math.isfinite(mean) for mean in train_step.report().values())
    assert any_rank(last)
    assert not any_rank(False)
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
