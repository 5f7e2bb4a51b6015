"""The folder of a run, which one training writes at a time, and its checkpoints.

Checkpoints are folders that are there whole or not at all:

RUN/checkpoints/step-00001234/weights.safetensors   moving average, the weights to use
                              training_state.pt     all that the training needs to go on
RUN/checkpoints/best/weights.safetensors            the moving average that validated best
"""

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from filelock import FileLock, Timeout

from modules.checkpoints import current_discriminator, with_current_names
from utils.errors import InputError, OutputError
from utils.files import write_atomically

STATE_FILE = "training_state.pt"
GRACE = 2  # seconds that the processes of a killed training may take to end with it
LOCK, HOLDER = ".lock", ".lock-holder"  # in the folder of a run: held by its training, and whose


@contextmanager
def sole_training(run: Path) -> Iterator[None]:
    """Let nobody else train into the folder meanwhile; the lock ends with this process.

    Raises InputError, which names the other training, where somebody does.
    """
    lock = FileLock(run / LOCK, timeout=GRACE)
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"{run} is being trained already, by {holder(run)}: wait for its end, or choose "
            "another --name."
        ) from error
    except OSError as error:
        raise OutputError(f"{run} cannot be written: {error.strerror or error}.") from error
    try:
        began = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        mine = f"process {os.getpid()} on {platform.node()} (since {began})"
        write_atomically(run / HOLDER, mine)
        yield
    finally:
        with suppress(OSError):
            (run / HOLDER).unlink(missing_ok=True)
            if [entry.name for entry in run.iterdir()] == [LOCK]:  # nothing came of it
                shutil.rmtree(run)
        lock.release()


def holder(run: Path) -> str:
    """Who trains into the folder, as its lock says."""
    try:
        return (run / HOLDER).read_text()
    except OSError:  # it begins or ends just now
        return "another process"


def checkpoint_folder(run: Path, step: int) -> Path:
    """The checkpoint of a run after ``step`` optimizer steps."""
    return run / "checkpoints" / f"step-{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run that can be resumed, oldest first."""
    return sorted(folder.parent for folder in run.glob(f"checkpoints/step-*/{STATE_FILE}"))


def find_checkpoint(run: Path, checkpoint: str | None) -> Path | None:
    """What ``checkpoint`` names: None, a path, or ``last`` for the newest of the run.

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
    """Delete all but the newest ``count`` checkpoints, and what a kill left half-made of others."""
    kept = checkpoints(run)[-count:]
    for folder in run.glob("checkpoints/*step-*"):
        if folder not in kept:
            shutil.rmtree(folder)


def differences(saved: Any, now: Any, name: str = "") -> Iterator[str]:
    """The settings in which two nested ones differ, by their dotted paths, with both values."""
    if isinstance(saved, Mapping) and isinstance(now, Mapping):
        for key in {**saved, **now}:
            yield from differences(saved.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif saved != now:
        shown = ("set" if isinstance(value, Mapping) else value for value in (saved, now))
        yield "{} ({}, now {})".format(name, *shown)


def write_state(checkpoint: Path, state: dict[str, Any]) -> None:
    """Write the training state of a checkpoint.  Raises OSError where that fails."""
    try:
        with open(checkpoint / STATE_FILE, "wb") as file:
            torch.save(state, file)
    except RuntimeError as error:  # torch's own, of the end of a file that could not be written
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        raise


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The training state of a checkpoint, on the CPU; no code in the file is run."""
    path = checkpoint / STATE_FILE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        raise InputError(
            f"{path} is damaged: delete its folder to resume from the checkpoint before it."
        ) from error
    return with_current_keys(state)


def with_current_keys(state: dict[str, Any]) -> dict[str, Any]:
    """Return a training state, in which that of an earlier version has today's names."""
    for old, new in (("best_psnr", "best_merit"), ("optimisation", "train_step")):
        if old in state:
            state[new] = state.pop(old)
    if "data" in state:
        state["data"] = with_current_names(state["data"])
    step = state.get("train_step", {})
    for old, new in (("average", "ema"), ("optimisers", "optimizers")):
        if old in step:
            step[new] = step.pop(old)
    if step.get("discriminator") is not None:
        step["discriminator"] = current_discriminator(step["discriminator"])
    return state
