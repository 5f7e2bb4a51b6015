import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from utils.errors import InputError, OutputError
from utils.worker_pool import _Died, _Worker, map_in_processes


def run(work, jobs, workers):
    return map_in_processes(work, jobs, workers, died=lambda job: "died")


def square(number: int) -> int:
    return number * number


def num_threads(_: int) -> int:
    import torch

    return torch.get_num_threads()


def die_of_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def interrupted(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


def full_disk(number: int) -> int:
    if number == 2:
        raise OutputError("The disk is full.")
    return number


def wait_after_the_first(path: Path) -> None:
    if path.name != "0":
        time.sleep(600)
    path.write_text("done")


def write_pid_and_wait(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_job_gives_its_result_once(workers):
    assert sorted(run(square, range(7), workers)) == [(n, n * n) for n in range(7)]


def test_no_jobs_give_nothing():
    assert list(run(square, [], 2)) == []


def test_a_worker_that_dies_costs_its_job_only():
    results = dict(run(die_of_three, range(8), 2))
    assert results == {n: n for n in range(8)} | {3: "died"}


def test_one_worker_after_another_may_die():
    results = list(run(die_of_three, [3, 3, 1, 3, 2], 1))
    assert [result for _, result in results] == ["died", "died", 1, "died", 2]


def test_a_worker_may_die_in_the_middle_of_its_result():
    connection, other_end = multiprocessing.Pipe()
    os.write(other_end.fileno(), struct.pack("!i", 100) + b"half of it")
    other_end.close()
    worker = SimpleNamespace(connection=connection)
    with pytest.raises(_Died):
        _Worker.result(worker)  # type: ignore[arg-type]


def test_no_more_jobs_are_asked_for_than_are_worked_on():
    asked = []

    def jobs():
        for number in range(9):
            asked.append(number)
            yield number

    for count, _ in enumerate(run(square, jobs(), 2), start=1):
        assert len(asked) <= count + 2 + 1  # two in work, and one more than was yielded


def test_an_error_of_a_job_is_raised_here():
    with pytest.raises(OutputError, match="The disk is full"):
        list(run(full_disk, range(5), 2))
    with pytest.raises(InputError):  # what it is a kind of
        list(run(full_disk, [2], 1))


def test_an_error_tells_where_in_the_worker_it_was_raised():
    with pytest.raises(OutputError) as raised:
        list(run(full_disk, [2], 1))
    assert "in full_disk" in str(raised.value.__cause__)


def test_ctrl_c_is_left_to_the_parent():
    assert list(run(interrupted, [5], 1)) == [(5, 5)]


def test_who_stops_asking_waits_for_nothing(tmp_path):
    paths = [tmp_path / str(number) for number in range(3)]
    running = run(wait_after_the_first, paths, 2)
    next(running)
    running.close()
    assert "done" in {path.read_text() for path in paths if path.exists()}
    assert not multiprocessing.active_children()


def test_workers_end_with_their_parent(tmp_path):
    code = (
        "from pathlib import Path\n"
        "from tests.utils.test_worker_pool import run, write_pid_and_wait\n"
        "if __name__ == '__main__':\n"
        f"    list(run(write_pid_and_wait, [Path({str(tmp_path / 'pid')!r})], 1))\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert parent.poll() is None
            time.sleep(0.02)
        worker = int((tmp_path / "pid").read_text())
        os.kill(worker, 0)  # it is there
        parent.kill()
    deadline = time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_process_computes_with_one_thread_and_this_one_as_before(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert [result for _, result in run(num_threads, range(2), 1)] == [1, 1]
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [result for _, result in run(num_threads, [0], 1)] == [1]
    assert "OMP_NUM_THREADS" not in os.environ
