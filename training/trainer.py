"""A training run: its loop, its log, its validation and its checkpoints.

Everything random in a step is a function of (seed, step): a resumed run repeats an uninterrupted
one, and several ranks repeat one rank with the batch of all.  One step is ``training.train_step``.
"""

import hashlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from datasets.dataloader import load_batches
from datasets.frame_pairs import FramePairs, PairDataset, PairSampler
from datasets.synthetic.clips import generate
from datasets.training_clips import training_clips, training_stills, with_face_crop
from modules.checkpoints import (
    BEST,
    DISCRIMINATOR,
    LANDMARK_DETECTOR,
    WEIGHTS,
    fill_missing_tensors,
    load_strictly,
    read_discriminator,
    read_weights,
    same_memory,
    save_weights,
    write_tensors,
)
from modules.discriminator import Discriminator
from modules.mcnet import MCNet
from training.config import rate_factor
from training.distributed import any_rank
from training.logger import RunLogger, ThroughputMeter
from training.objective import LandmarkObjective, Objective
from training.run_checkpoints import (
    checkpoint_folder,
    checkpoints,
    differences,
    keep_last,
    read_state,
    require_same_settings,
    write_checkpoint,
)
from training.run_config import Config, to_settings, to_yaml
from training.train_step import TrainStep
from training.validation import LandmarkValidation, Scores, Validation, validation_batches
from utils.errors import InputError
from utils.files import write_atomically
from utils.progress import progress_bar
from utils.signals import deferred_signals
from utils.wording import time_left

logger = logging.getLogger(__name__)

MAX_UNREADABLE = 0.05  # share of the clips and stills


class TrainingResult(NamedTuple):
    """The end of a training."""

    checkpoint: Path
    scores: Scores | None  # of the moving average at the last validation, if there was one
    summary: str  # the scores in words
    signal: int | None  # that ended the training early


class Trainer:
    """A training run in a folder, from nothing or from the weights of a checkpoint.

    It is resumed where ``checkpoint`` is one of the folder's own.
    """

    def __init__(
        self, config: Config, folder: Path, accelerator: Accelerator, checkpoint: Path | None = None
    ) -> None:
        self.accelerator = accelerator
        if config.data.synthetic is not None and config.data.source == "files":
            with accelerator.main_process_first():
                generate(config.data.folder, config.data.synthetic)
        config = config.model_copy(update={"data": with_face_crop(config.data)})
        self.config, self.folder = config, folder

        self.clips = training_clips(config.data, "train")
        self.stills = training_stills(config.data)
        self.dataset = PairDataset(self.clips, config.data, config.seed, self.stills)
        self.unreadable: set[str] = set()  # names of clips and stills
        self.batch_size = config.train.batch_size * accelerator.num_processes  # of all ranks
        self.batches_per_epoch = self.sampler(0).batches_per_epoch
        num_steps = config.train.epochs * self.batches_per_epoch // config.train.accumulate
        self.num_steps = min(num_steps, config.train.max_steps or num_steps)

        self.scores: Scores | None = None  # at the last validation
        self.best_score = -math.inf  # selection score of the best weights
        if checkpoint is not None and checkpoint in checkpoints(folder):
            self.train_step = self.new_step(*self.new_networks())
            self.resume(checkpoint)
        else:
            networks = self.new_networks()
            self.load_weights(*networks, checkpoint)
            self.train_step = self.new_step(*networks)
        validation = Validation if config.train.network == "all" else LandmarkValidation
        self.validation = validation(
            validation_batches(config.data, config.train.validation_pairs, config.train.batch_size),
            accelerator,
        )
        self.run_logger = None
        if accelerator.is_main_process:
            self.run_logger = RunLogger(folder, self.train_step.step)
            write_atomically(folder / "config.yaml", to_yaml(config))

    def new_networks(self) -> tuple[MCNet, Discriminator | None]:
        """Build the networks with random weights; adversarial training has a discriminator."""
        config = self.config
        torch.manual_seed(config.seed)
        model, discriminator = MCNet(config.model), None
        if config.loss.adversarial > 0 and config.train.network == "all":
            discriminator = Discriminator(config.discriminator, config.model.num_kp)
        return model, discriminator

    def load_weights(
        self, model: MCNet, discriminator: Discriminator | None, checkpoint: Path | None
    ) -> None:
        """Begin with the weights of a checkpoint, if there is one.

        Raises InputError where they lack the landmark detector of the model: it stays frozen
        beside the other networks, which cannot be trained beside a random one.
        """
        state = {} if checkpoint is None else read_weights(checkpoint).model
        frozen = self.config.train.network == "all" and model.landmark_detector is not None
        if frozen and not any(name.startswith(LANDMARK_DETECTOR) for name in state):
            lacking = "there is no --checkpoint" if checkpoint is None else f"{checkpoint} has none"
            raise InputError(
                f"The landmark detector of the config is not trained here, and {lacking}: train it "
                "first (for lite.yaml by python run.py --config lite-landmarks.yaml), then this "
                "with --checkpoint that run."
            )
        if checkpoint is None:
            return
        logger.info("Starting from the weights of %s.", checkpoint)
        if not same_memory(state, model.state_dict()):
            logger.info("The memory has another form than in these weights: it starts anew.")
        load_strictly(model, fill_missing_tensors(state, model), checkpoint)
        found = None if discriminator is None else read_discriminator(checkpoint)
        if discriminator is not None and found is not None:
            logger.info("Going on with the discriminator in %s.", found.path)
            load_strictly(discriminator, found.state, found.path)

    def new_step(self, model: MCNet, discriminator: Discriminator | None) -> TrainStep:
        """Build the objective and the optimizers."""
        config = self.config
        everything = config.train.network == "all"
        with self.accelerator.main_process_first():  # VGG-19 may be downloaded
            objective = (Objective if everything else LandmarkObjective)(model, config.loss)
        return TrainStep(objective, discriminator, config.train, config.seed, self.accelerator)

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint of this run.  Raises InputError where its settings differ."""
        state = read_state(checkpoint)
        require_same_settings(state["fixed_settings"], self.fixed_settings(), checkpoint)
        if changed := list(differences(state.get("data", self.data()), self.data())):
            logger.warning("Resuming with other data: %s.", ", ".join(changed))
        if state["train_step"]["step"] > self.num_steps:
            raise InputError(
                f"{checkpoint} is past the end of the training, which is step {self.num_steps} by "
                "train.epochs and train.max_steps: raise them, or begin a run of another --name "
                "from its weights."
            )
        self.train_step.load_state(state["train_step"])
        self.best_score = state["best_selection_score"]
        logger.info("Resuming %s after step %d.", self.folder, self.train_step.step)

    def run(self) -> TrainingResult:
        """Train until the last step, or until a signal asks to stop; returns how it ended."""
        train, train_step = self.config.train, self.train_step
        batches = self.batches()
        meter = ThroughputMeter(samples_per_step=self.batch_size * train.accumulate)
        with deferred_signals() as signals, logging_redirect_tqdm(), self.bar() as bar:
            while train_step.step < self.num_steps:
                with meter.timed("data"):
                    step_batches = [next(batches) for _ in range(train.accumulate)]
                with meter.timed("step"):
                    train_step.take_step(step_batches, self.rate_factor())
                    interrupted = any_rank(bool(signals))
                meter.steps += 1
                bar.update()

                if self.due(train.log_every):
                    with meter.timed("step"):
                        found = train_step.report()
                    bar.set_postfix(losses(found), refresh=False)
                    self.write_metrics(found | meter.read())
                if self.due(train.validate_every):
                    self.validate()
                if self.due(train.grid_every) and self.run_logger is not None:
                    self.run_logger.grid(train_step.step, self.validation.grid(train_step.ema))
                if self.due(train.save_every) or interrupted:
                    self.save()
                if interrupted:
                    break
        if self.scores is None and train_step.step == self.num_steps:  # resumed after its end
            self.validate()
        if self.run_logger is not None:
            self.run_logger.close()
        return TrainingResult(
            checkpoint=checkpoint_folder(self.folder, train_step.step),
            scores=self.scores,
            summary="" if self.scores is None else self.validation.describe(self.scores),
            signal=signals[0] if signals else None,
        )

    def due(self, interval: int) -> bool:
        """Whether the step just taken is the last one or ends an interval."""
        step = self.train_step.step
        return step == self.num_steps or step % interval == 0

    def rate_factor(self) -> float:
        """Compute the factor of the next step's learning rates."""
        train, step = self.config.train, self.train_step.step
        epoch = step * train.accumulate // self.batches_per_epoch
        return rate_factor(train, step, epoch, self.num_steps)

    def sampler(self, start_batch: int) -> PairSampler:
        """Draw this rank's pairs from a batch of the run on."""
        return PairSampler(
            len(self.dataset),
            self.config.train.batch_size,
            self.config.seed,
            rank=self.accelerator.process_index,
            world_size=self.accelerator.num_processes,
            start_batch=start_batch,
        )

    def batches(self) -> Iterator[FramePairs]:
        """Load this rank's share of every batch from the next step on."""
        batches = load_batches(
            self.dataset,
            self.sampler(self.train_step.step * self.config.train.accumulate),
            self.config.train.workers,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        for batch in batches:
            self.count_unreadable(set(batch.unreadable))
            yield batch.frames(self.accelerator.device)

    def count_unreadable(self, names: set[str]) -> None:
        """Log every unreadable clip or still once; raises InputError when there are too many."""
        for name in sorted(names - self.unreadable):
            logger.warning("The clip %s cannot be read and is left out.", name)
        self.unreadable |= names
        total = len(self.clips) + len(self.stills)
        if len(self.unreadable) > MAX_UNREADABLE * total:
            kinds = "clips and stills" if self.stills else "clips"
            raise InputError(
                f"{len(self.unreadable)} of the {total} {kinds} cannot be read, "
                f"{max(self.unreadable)} for one: repair or remove them."
            )

    def validate(self) -> None:
        """Score the moving average, and save it if it is the best so far."""
        self.train_step.check()
        step = self.train_step.step
        scores = self.validation.score(self.train_step.ema)
        score = self.validation.selection_score(scores)
        logger.info("Step %d: %s.", step, self.validation.describe(scores))
        if self.run_logger is not None:
            copied = {f"copy_source/{name}": x for name, x in self.validation.baseline.items()}
            values = {f"validation/{name}": x for name, x in scores.items()}
            self.run_logger.scalars(step, values | copied)
            if score > self.best_score:
                self.save_weights(self.folder / "checkpoints" / BEST)
        self.scores, self.best_score = scores, max(self.best_score, score)

    def write_metrics(self, means: dict[str, float]) -> None:
        """Log the values of the steps since the last time, and their speed."""
        step, seconds = self.train_step.step, means["seconds_per_step"]
        logger.info(
            f"Step {step} of {self.num_steps}: loss {sum(losses(means).values()):.3f}, "
            f"{means['samples_per_second']:.2f} samples/s, {seconds:.3g} s a step, of which "
            f"{means['seconds_waiting']:.2g} s ({means['data_wait']:.0%}) waiting for data"
            f"{time_left((self.num_steps - step) * seconds)}."
        )
        if self.run_logger is not None:
            means["epoch"] = step * self.config.train.accumulate / self.batches_per_epoch
            means["rate_factor"] = self.rate_factor()
            means["skipped"] = int(self.train_step.skipped)
            self.run_logger.scalars(step, means)

    def save(self) -> None:
        """Write a checkpoint and delete the oldest.  Raises OutputError where that fails."""
        self.train_step.check()
        if not self.accelerator.is_main_process:
            return
        state = {
            "train_step": self.train_step.state(),
            "best_selection_score": self.best_score,
            "fixed_settings": self.fixed_settings(),
            "data": self.data(),
        }
        place = checkpoint_folder(self.folder, self.train_step.step)
        write_checkpoint(place, state, self.save_weights)
        keep_last(self.folder, self.config.train.keep_last)

    def save_weights(self, folder: Path) -> None:
        """Write the moving average, with the configuration in it, and the discriminator."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.train_step.discriminator is not None:
            write_tensors(folder / DISCRIMINATOR, self.train_step.discriminator.state_dict())
        save_weights(folder / WEIGHTS, self.train_step.ema, to_settings(self.config))

    def fixed_settings(self) -> dict[str, Any]:
        """Collect the settings that a resumed run must share."""
        return {
            "seed": self.config.seed,
            "model": to_settings(self.config)["model"],
            "batch size of all processes": self.batch_size,
            "train.accumulate": self.config.train.accumulate,
            "adversarial training": self.config.loss.adversarial > 0,
        }

    def data(self) -> dict[str, Any]:
        """Describe the data, of which a resumed run says where it differs."""
        names = sorted(f"{clip.name} {clip.num_frames}" for clip in self.clips)
        names += sorted(still.name for still in self.stills)
        return {
            "data": to_settings(self.config)["data"],
            "number of clips and stills": len(names),
            "names and lengths of clips": hashlib.sha256("\n".join(names).encode()).hexdigest()[:8],
        }

    def bar(self) -> "tqdm[Any]":
        """Show the progress on the main process."""
        return progress_bar(
            hidden=not self.accelerator.is_main_process,
            total=self.num_steps,
            initial=self.train_step.step,
            unit="step",
        )


def losses(found: dict[str, float]) -> dict[str, float]:
    """Pick the loss terms among the values of steps, by their names."""
    prefix = "loss/"
    return {
        name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
    }
