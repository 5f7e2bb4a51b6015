"""The folder of a training run, which one training writes at a time, and its checkpoints.

A checkpoint is a folder that is there completely or not at all:

RUN/checkpoints/step-00001234/weights.safetensors   moving average: the weights to use
                              training_state.pt     all that a resumed training needs
RUN/checkpoints/best/weights.safetensors            moving average with the best validation
"""

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from modules.checkpoints import current_discriminator, model_config
from utils.errors import InputError
from utils.files import atomic_folder, naming_errors, write_atomically
from utils.locks import sole_writer
from utils.renamed_settings import with_current_names

STATE_FILE = "training_state.pt"
GRACE = 2  # seconds in which the other processes of a killed training end
LOCK, HOLDER = ".lock", ".lock-holder"  # of a run: held by its training, and who that is


@contextmanager
def sole_training(run: Path) -> Iterator[None]:
    """Let no other process train into the folder; the lock ends with this process.

    Raises InputError, which names the other training, where there is one.
    """
    busy = (
        f"{run} is being trained already, by {holder(run)}: wait for its end, or choose another "
        "--name."
    )
    with sole_writer(run / LOCK, busy=busy, timeout=GRACE):
        try:
            began = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
            own = f"process {os.getpid()} on {platform.node()} (since {began})"
            write_atomically(run / HOLDER, own)
            yield
        finally:
            with suppress(OSError):
                (run / HOLDER).unlink(missing_ok=True)
                if [entry.name for entry in run.iterdir()] == [LOCK]:  # nothing came of it
                    shutil.rmtree(run)


def holder(run: Path) -> str:
    """Name the process that trains into the folder."""
    try:
        return (run / HOLDER).read_text()
    except OSError:  # it starts or ends at this moment
        return "another process"


def checkpoint_folder(run: Path, step: int) -> Path:
    """Name the checkpoint of a run after ``step`` optimizer steps."""
    return run / "checkpoints" / f"step-{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of a run that can be resumed, oldest first."""
    return sorted(folder.parent for folder in run.glob(f"checkpoints/step-*/{STATE_FILE}"))


def find_checkpoint(run: Path, checkpoint: str | None) -> Path | None:
    """Find a checkpoint by its path, or by ``last``, which is the newest of the run.

    A run that has checkpoints is only ever resumed from the newest, so that nothing is
    overwritten.  Raises InputError otherwise, or where there is nothing to resume.
    """
    existing = checkpoints(run)
    if checkpoint == "last" and not existing:
        raise InputError(f"There is no checkpoint to resume in {run / 'checkpoints'}.")
    path = None if checkpoint is None else Path(checkpoint)
    if not existing:
        return path
    if checkpoint == "last" or (path and path.resolve() == existing[-1].resolve()):
        return existing[-1]
    raise InputError(
        f"{run} already holds a run: resume it with --checkpoint last, or choose another --name."
    )


def keep_last(run: Path, count: int) -> None:
    """Delete all but the newest ``count`` checkpoints, and incomplete ones."""
    kept = checkpoints(run)[-count:]
    for folder in run.glob("checkpoints/*step-*"):
        if folder not in kept:
            shutil.rmtree(folder)


def differences(saved: Any, now: Any, name: str = "") -> Iterator[str]:
    """List the dotted paths at which nested settings differ, with both values."""
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        for key in {**saved, **now}:
            yield from differences(saved.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif saved != now:
        shown = ("set" if isinstance(value, Mapping) else value for value in (saved, now))
        yield "{} ({}, now {})".format(name, *shown)


def require_same_settings(saved: dict[str, Any], own: dict[str, Any], checkpoint: Path) -> None:
    """Raise InputError where a checkpoint belongs to a run with other settings than our ``own``.

    Settings of the model that did not exist when the run began have their defaults.
    """
    saved = {**saved, "model": model_config(saved, checkpoint).model_dump(mode="json")}
    if changed := list(differences(saved, own)):
        raise InputError(
            f"{checkpoint.parent.parent} was trained with another {', '.join(changed)}: resume "
            "with the same, or begin a run of another --name from its weights."
        )


def write_checkpoint(
    checkpoint: Path, state: dict[str, Any], write_weights: Callable[[Path], None]
) -> None:
    """Write a checkpoint, completely or not at all.  Raises OutputError where that fails."""
    with naming_errors(checkpoint), atomic_folder(checkpoint) as folder:
        write_weights(folder)
        write_state(folder, state)


def write_state(checkpoint: Path, state: dict[str, Any]) -> None:
    """Write the training state of a checkpoint.  Raises OSError where that fails."""
    try:
        with open(checkpoint / STATE_FILE, "wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # torch's own, at the end of a file that could not be written
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Read the training state of a checkpoint onto the CPU, without running code in the file."""
    path = checkpoint / STATE_FILE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(
            f"{path} is damaged: delete its folder to resume from the checkpoint before it."
        ) from error
    return with_current_keys(state)


def with_current_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Translate the training state of an earlier version, which had other names."""
    best = "best_selection_score"
    rename(state, best_psnr=best, best_merit=best, course="fixed_settings")
    rename(state, optimisation="train_step")
    if "data" in state:
        state["data"] = with_current_names(state["data"])
        old, new = (f"number of clips and {kind}" for kind in ("portraits", "stills"))
        rename(state["data"], **{old: new})
    step = state.get("train_step", {})
    rename(step, average="ema", optimisers="optimizers")
    if step.get("discriminator") is not None:
        step["discriminator"] = current_discriminator(step["discriminator"])
    return state


def rename(state: dict[str, Any], **names: str) -> None:
    """Give the old keys of a state, if it has them, their new names."""
    for old in names.keys() & state.keys():
        state[names[old]] = state.pop(old)
