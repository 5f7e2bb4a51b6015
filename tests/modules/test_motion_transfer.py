import json
import math

import numpy as np
import pytest
import torch

from modules.geometry import Keypoints
from modules.motion_transfer import hull_area, movement_scale, shape_distances, transfer_motion
from tests.golden import GOLDEN, needs_golden


def random_keypoints(seed: int, *, batch: int = 1, num_kp: int = 6) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(batch, num_kp, 2, generator=generator) * 2 - 1
    jacobians = torch.eye(2) + 0.2 * torch.randn(batch, num_kp, 2, 2, generator=generator)
    return Keypoints(positions, jacobians, positions[:, :0])


def keypoints_on_a_line() -> Keypoints:
    positions = torch.linspace(-1, 1, 6)[None, :, None].expand(1, 6, 2)
    return random_keypoints(0)._replace(positions=positions)


def random_shapes(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 68, 2))


@needs_golden
def test_every_combination_of_options_gives_the_reference_keypoints():
    golden = json.loads((GOLDEN / "relative_motion.json").read_text())

    def read(entry: dict) -> Keypoints:
        positions = torch.tensor(entry["value"])
        return Keypoints(positions, torch.tensor(entry["jacobian"]), positions[:, :0])

    source, driving, initial = (
        read(golden["inputs"][name]) for name in ("source", "driving", "driving_initial")
    )
    assert len(golden["outputs"]) == 6
    for options, expected in golden["outputs"].items():
        on = {name: value == "True" for name, value in (o.split("=") for o in options.split(","))}
        moved = driving  # absolute motion
        if on["relative_movement"]:
            moved = transfer_motion(
                source,
                driving,
                initial,
                scale=movement_scale(source, initial) if on["adapt_movement_scale"] else 1.0,
                relative_jacobians=on["relative_jacobian"],
            )
        torch.testing.assert_close(moved, read(expected), atol=1e-5, rtol=1e-5, msg=options)


def test_the_initial_frame_leaves_the_source_where_it_is():
    source, initial = random_keypoints(0), random_keypoints(1)
    torch.testing.assert_close(transfer_motion(source, initial, initial, scale=1.7), source)


def test_a_driving_face_that_is_the_source_moves_as_in_absolute_motion():
    source, driving = random_keypoints(0), random_keypoints(1, batch=3)
    torch.testing.assert_close(transfer_motion(source, driving, source), driving)


def test_a_batch_moves_as_its_frames_do_one_by_one():
    source, initial, driving = (
        random_keypoints(0),
        random_keypoints(1),
        random_keypoints(2, batch=3),
    )
    together = transfer_motion(source, driving, initial, scale=0.5)
    for i in range(3):
        frame = Keypoints(*(part[i : i + 1] for part in driving))
        alone = transfer_motion(source, frame, initial, scale=0.5)
        torch.testing.assert_close(Keypoints(*(part[i : i + 1] for part in together)), alone)


def test_a_face_twice_as_large_moves_twice_as_far():
    driving = random_keypoints(0)
    source = driving._replace(positions=2 * driving.positions + 0.1)
    assert movement_scale(source, driving) == pytest.approx(2, rel=1e-6)


def test_keypoints_on_a_line_leave_the_scale_at_one():
    line = keypoints_on_a_line()
    assert movement_scale(line, random_keypoints(0)) == 1
    assert movement_scale(random_keypoints(0), line) == 1


def test_the_hull_area_of_a_square_ignores_what_lies_inside():
    assert hull_area(np.array([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1.5]])) == pytest.approx(4)


def test_two_points_have_no_hull_area():
    assert hull_area(np.array([[0.0, 0.0], [1.0, 1.0]])) == 0


def test_place_and_size_of_a_shape_do_not_count():
    (shape,) = random_shapes(1)
    np.testing.assert_allclose(shape_distances(np.stack([3 * shape + 5]), shape), 0, atol=1e-20)


def test_a_turned_shape_is_further_than_the_shape_itself():
    (shape,) = random_shapes(1)
    c, s = math.cos(0.3), math.sin(0.3)
    near, far = shape_distances(np.stack([shape, shape @ np.array([[c, -s], [s, c]])]), shape)
    assert near < far


def test_a_missing_or_flat_shape_is_infinitely_far():
    shapes = random_shapes(3)
    shapes[1] = np.nan
    shapes[2, :, 1] = 0
    distances = shape_distances(shapes, shapes[0])
    assert distances.tolist() == [0, np.inf, np.inf]
