"""The neutral face has a closed mouth and open eyes, and is posed as the source is."""

import pytest
import torch
from torch import Tensor

from animation.neutral_face import STEP, NeutralSoFar, best_so_far, find_neutral, neutral_cost
from tests.drawn_landmarks import drawn_face, similarity, turned_head

SOURCE = similarity(drawn_face(), 0.5, 0.1, 0.2, 0.1)


def posed(face: Tensor) -> Tensor:
    return similarity(face, 0.4, 0.1, -0.1, 0)


VIDEO = torch.cat(
    [
        posed(drawn_face(mouth=0.3)),
        posed(drawn_face(eyes=0.01)),
        similarity(drawn_face(), 0.4, 0.5, 0, 0),
        posed(turned_head(drawn_face(), 0.6)),
        posed(drawn_face()),
        posed(drawn_face(mouth=0.02)),
    ]
)


def test_the_neutral_frame_is_found_among_others():
    assert find_neutral(VIDEO, SOURCE) == 4
    assert neutral_cost(VIDEO, SOURCE)[4].item() == pytest.approx(0, abs=1e-6)
    assert find_neutral(VIDEO[:1], SOURCE) == 0


def test_the_first_frame_is_kept_where_others_are_hardly_better():
    assert find_neutral(VIDEO[[5, 4]], SOURCE) == 0


def test_place_and_size_of_a_face_cost_nothing():
    face = similarity(drawn_face(mouth=0.1), 0.3, 0.1, 0.5, -0.4)
    torch.testing.assert_close(
        neutral_cost(face, SOURCE), neutral_cost(posed(drawn_face(mouth=0.1)), SOURCE)
    )


def test_the_shape_of_frames_does_not_count():
    """In a frame twice as wide as high the same face is half as wide in coordinates."""
    wide = torch.tensor([0.5, 1.0]).double()
    torch.testing.assert_close(
        neutral_cost(VIDEO * wide, SOURCE * wide, aspect=2.0), neutral_cost(VIDEO, SOURCE)
    )


def test_the_best_so_far_is_the_earliest_of_those_that_cost_alike():
    costs = torch.tensor([1.0, 1.0 - STEP / 9, 0.5, 0.5 + STEP / 9, 0.7, 0.1, torch.inf])
    assert best_so_far(costs).tolist() == [0, 1, 2, 2, 2, 5, 5]
    assert best_so_far(torch.full((3,), torch.inf)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 2, 6])
def test_the_neutral_face_of_a_stream_is_the_best_so_far_in_any_batches(batch_size):
    so_far = NeutralSoFar(SOURCE)
    found = torch.cat([so_far(batch) for batch in VIDEO.split(batch_size)])
    expected = [VIDEO[find_neutral(VIDEO[: i + 1], SOURCE)] for i in range(len(VIDEO))]
    assert torch.equal(found, torch.stack(expected))
