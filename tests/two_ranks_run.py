"""Train in two ranks: torchrun --nproc_per_node=2 -m tests.two_ranks_run CONFIG FOLDER."""

import json
import math
import sys
from pathlib import Path

import torch

from config import load_config
from tests.tiny import float64
from training.distributed import any_rank, start_processes
from training.trainer import Trainer

SETTINGS = ["train.max_steps=2", "train.accumulate=2", "loss.adversarial=1", "train.save_every=1"]
RUNS = {"kept": [], "computed again": ["train.activation_checkpointing=true"]}


def skip_a_bad_batch(trainer: Trainer) -> dict[str, object]:
    """Take three steps, of which the last rank's second batch is not finite."""
    train_step, batches = trainer.train_step, trainer.batches()
    last = trainer.accelerator.is_last_process
    train_step.take_step([next(batches)], 1.0)
    networks = torch.nn.ModuleList([train_step.model, train_step.ema])
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    bad = next(batches)
    if last:
        bad = bad._replace(driving=bad.driving * torch.nan)
    train_step.take_step([bad], 1.0)
    after = networks.state_dict()
    unchanged = all(torch.equal(after[name], value) for name, value in before.items())
    train_step.take_step([next(batches)], 1.0)
    return {
        "unchanged": unchanged,
        "skipped": int(train_step.skipped),
        "finite": all(math.isfinite(mean) for mean in train_step.report().values()),
        "any_rank": [any_rank(last), any_rank(False)],
    }


if __name__ == "__main__":
    config_file, folder = sys.argv[1], Path(sys.argv[2])
    config = load_config(config_file)
    accelerator = start_processes(config.train)
    with float64():
        for name, more in RUNS.items():
            run = load_config(config_file, [*SETTINGS, *more])
            Trainer(run, folder / name, accelerator).run()
    found = skip_a_bad_batch(Trainer(config, folder / "bad", accelerator))
    (folder / f"bad-{accelerator.process_index}.json").write_text(json.dumps(found))
    accelerator.wait_for_everyone()
    accelerator.end_training()
