"""The choice and the number of checkpoints, of which none is incomplete."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training.run_checkpoints import (
    STATE_FILE,
    checkpoint_folder,
    checkpoints,
    find_checkpoint,
    keep_last,
    read_state,
    sole_training,
)
from utils.errors import InputError
from utils.files import atomic_folder


def save(run: Path, step: int) -> Path:
    with atomic_folder(checkpoint_folder(run, step)) as folder:
        torch.save({"step": step}, folder / STATE_FILE)
    return checkpoint_folder(run, step)


def test_what_was_saved_is_read(tmp_path):
    assert read_state(save(tmp_path, 7)) == {"step": 7}


def test_a_failure_while_saving_leaves_no_checkpoint(tmp_path):
    def fail() -> None:
        with atomic_folder(checkpoint_folder(tmp_path, 3)) as folder:
            (folder / STATE_FILE).write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert checkpoints(tmp_path) == []
    assert read_state(save(tmp_path, 3)) == {"step": 3}


def test_the_newest_are_kept_in_the_order_of_their_steps(tmp_path):
    for step in (900, 1000, 99_999_999, 5):
        save(tmp_path, step)
    for other in (".step-00000001.new", "step-00000002", "best"):  # the second half deleted
        (tmp_path / "checkpoints" / other).mkdir()
    keep_last(tmp_path, 2)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best", "step-00001000", "step-99999999"]


def test_a_new_run_starts_from_what_is_named(tmp_path):
    assert find_checkpoint(tmp_path, None) is None
    assert find_checkpoint(tmp_path, "weights.safetensors") == Path("weights.safetensors")
    with pytest.raises(InputError, match="no checkpoint to resume"):
        find_checkpoint(tmp_path, "last")


def test_a_run_with_checkpoints_is_resumed_from_the_newest_or_left_alone(tmp_path, monkeypatch):
    older, newest = save(tmp_path, 1), save(tmp_path, 2)
    assert find_checkpoint(tmp_path, "last") == newest
    monkeypatch.chdir(tmp_path)
    assert find_checkpoint(tmp_path, "checkpoints/step-00000002") == newest
    for checkpoint in (None, str(older), "elsewhere"):
        with pytest.raises(InputError, match="--checkpoint last"):
            find_checkpoint(tmp_path, checkpoint)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint"])
def test_a_damaged_state_is_one_sentence(tmp_path, damage):
    folder = save(tmp_path, 1)
    (folder / STATE_FILE).write_bytes(damage)
    with pytest.raises(InputError, match="is damaged"):
        read_state(folder)


def test_half_a_state_is_one_sentence(tmp_path):
    path = save(tmp_path, 1) / STATE_FILE
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="is damaged"):
        read_state(path.parent)


def test_a_second_training_of_a_run_is_refused_and_names_the_first(tmp_path):
    run = tmp_path / "runs" / "demo"
    with sole_training(run):
        sentence = rf"demo is being trained already, by process {os.getpid()} on .* \(since 2"
        with pytest.raises(InputError, match=sentence), sole_training(run):
            pass
        save(run, 1)
        with sole_training(tmp_path / "runs" / "other"):
            pass
    with sole_training(run):
        pass
    assert checkpoints(run)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["demo"]  # the other is empty


def test_where_a_run_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    run = tmp_path / "file" / "demo"
    with pytest.raises(InputError, match="demo cannot be written"), sole_training(run):
        pass


KILLED = """
import os, sys, time
from pathlib import Path
from utils.signals import end_with_parent
from training.run_checkpoints import sole_training
with sole_training(Path(sys.argv[1])):
    if os.fork() == 0:
        end_with_parent()
    else:
        print("training", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere no process that loads data is forked"
)
def test_the_lock_ends_with_a_killed_training_and_with_the_processes_that_load_its_data(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == "training\n"
        named = pytest.raises(InputError, match=f"process {training.pid} on")
        with named, sole_training(tmp_path / "run"):
            pass
        training.kill()
    with sole_training(tmp_path / "run"):
        pass
