import pytest
import torch.distributed as dist

from evaluation.processes import Processes
from utils.errors import InputError


def test_every_item_is_taken_by_one_process():
    shares = [Processes(rank, 3).share(range(8)) for rank in range(3)]
    assert sorted(number for share in shares for number in share) == list(range(8))
    assert [len(share) for share in shares] == [3, 3, 2]
    assert [Processes(rank, 3).is_main for rank in range(3)] == [True, False, False]


def test_a_process_alone_waits_for_nobody():
    Processes(0, 1).wait_for_all()


def test_the_end_of_another_process_is_a_sentence(monkeypatch):
    def barrier() -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(dist, "barrier", barrier)
    with pytest.raises(InputError, match="Another process has ended"):
        Processes(1, 2).wait_for_all()
