"""What a recording does with its inputs; that it is replayed right, tests/test_gpu.py shows."""

import torch

from modules.geometry import Keypoints
from tests.tiny import random_keypoints
from utils.cuda_graph import Recording, Replay, copied, copy_into, flat


def test_inputs_are_flat_in_their_order():
    first, second = random_keypoints(seed=1), random_keypoints(seed=2)
    found = flat((first, [second.positions]))
    assert [id(tensor) for tensor in found] == [id(x) for x in (*first, second.positions)]


def test_copies_have_the_structure_and_layout_but_memory_of_their_own():
    image = torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    inputs = (random_keypoints(), [image])
    keypoints, (copy,) = copied(inputs)
    assert isinstance(keypoints, Keypoints)
    assert copy.stride() == image.stride()
    assert copy.data_ptr() != image.data_ptr()
    torch.testing.assert_close(copy, image)
    copy_into([copy], [1 - image])
    torch.testing.assert_close(copy, 1 - image)


def test_a_function_that_cannot_be_recorded_goes_on_without(monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted\nwhen capturing")

    monkeypatch.setattr("utils.cuda_graph.Recording", refuse)
    replay = Replay(lambda constant, varying: constant + varying)
    one = torch.ones(3)
    for value in (1.0, 2.0, 3.0, 4.0):
        torch.testing.assert_close(replay(one, value * one), one + value)
    assert [record.message for record in caplog.records] == [
        "CUDA graphs are not used: operation not permitted"
    ]


def test_a_recording_is_made_at_the_second_call_with_equal_shapes(monkeypatch):
    made = []

    class Recorded:
        def __init__(self, function: object, constant: torch.Tensor, varying: torch.Tensor):
            made.append(varying.shape)

        def replay(self, constant: torch.Tensor, varying: torch.Tensor) -> torch.Tensor:
            return varying

    monkeypatch.setattr("utils.cuda_graph.Recording", Recorded)
    replay = Replay(lambda constant, varying: varying)
    one = torch.ones(3)
    for size in (3, 2, 3, 3, 1):
        replay(one, one[:size])
    assert made == [(3,)]


def test_a_recording_is_replayed_on_the_inputs_it_is_given():
    recording = Recording.__new__(Recording)  # without the device that records

    class Graph:
        def replay(self) -> None:
            recording.result.copy_(recording.constant + recording.varying)

    first, second = torch.full((3,), 10.0), torch.full((3,), 20.0)
    recording.constant, recording.varying, recording.copied = first.clone(), first.clone(), first
    recording.graph, recording.result = Graph(), torch.empty(3)
    results = [
        recording.replay(constant, torch.full((3,), varying))
        for constant, varying in ((first, 1.0), (second, 2.0), (second, 3.0), (first, 4.0))
    ]
    assert [result[0].item() for result in results] == [11, 22, 23, 14]
