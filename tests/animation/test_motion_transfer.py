import json
import math

import numpy as np
import pytest
import torch

from animation.landmark_motion import landmark_gains
from animation.motion_transfer import (
    AS_DRIVEN,
    MotionStrength,
    exaggerate_expression,
    hull_area,
    movement_scale,
    shape_distances,
    transfer_motion,
)
from modules.face_landmarks import PARTS, measure_expressions
from modules.geometry import Keypoints
from tests.drawn_landmarks import drawn_face, similarity
from tests.golden import GOLDEN, needs_golden
from utils.errors import InputError


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


# Strengths


@pytest.mark.parametrize("head", [0.0, 0.5, 2.0])
def test_the_strength_of_the_head_scales_the_motion_of_keypoints(head):
    source, initial, driving = random_keypoints(0), random_keypoints(1), random_keypoints(2)
    moved = transfer_motion(source, driving, initial, strength=MotionStrength(head))
    positions = source.positions + head * (driving.positions - initial.positions)
    torch.testing.assert_close(moved.positions, positions)
    if head == 0:
        torch.testing.assert_close(moved.jacobians, source.jacobians)
    if head == 0.5:
        turned = moved.jacobians @ torch.linalg.inv(source.jacobians)
        assert (torch.linalg.det(turned) > 0).all()
        whole = driving.jacobians @ torch.linalg.inv(initial.jacobians)
        towards = (turned - torch.eye(2)).flatten(), (whole - torch.eye(2)).flatten()
        assert torch.cosine_similarity(*towards, dim=0) > 0.95
    assert torch.linalg.det(moved.jacobians).abs().min() > 1e-3


def test_a_rotation_of_keypoints_is_twice_as_far_at_strength_two():
    source = random_keypoints(0)
    c, s = math.cos(0.3), math.sin(0.3)
    turn = torch.tensor([[c, -s], [s, c]])
    driving = source._replace(jacobians=turn @ source.jacobians)
    moved = transfer_motion(source, driving, source, strength=MotionStrength(head=2.0))
    torch.testing.assert_close(moved.jacobians, turn @ turn @ source.jacobians)


def with_face(face: torch.Tensor, seed: int = 0) -> Keypoints:
    return random_keypoints(seed)._replace(landmarks=face.float())


def test_landmarks_express_by_the_strength_and_in_the_parts_asked_for():
    source, initial = with_face(similarity(drawn_face(), 0.5, 0, 0, 0)), with_face(drawn_face())
    driving = with_face(drawn_face(mouth=0.2, eyes=0.045))
    for strength, mouth, eyes in (
        (AS_DRIVEN, 0.2, 0.045),
        (MotionStrength(expression=2.0), 0.4, 0.0),
        (MotionStrength(parts=("eyes",)), 0.0, 0.045),
        (MotionStrength(head=0.0, parts=("mouth",)), 0.2, 0.09),
    ):
        moved = transfer_motion(source, driving, initial, strength=strength)
        found = measure_expressions(moved.landmarks)
        assert found.mouth.item() == pytest.approx(mouth, abs=1e-4)
        assert found.eyes.item() == pytest.approx(eyes, abs=1e-4)


def test_expressions_can_be_relative_to_another_face_than_the_head():
    """Brows that were raised in the first frame come down by what they did."""
    raised = drawn_face()
    raised[:, list(PARTS["brows"]), 1] -= 0.1
    source, first, neutral = with_face(drawn_face()), with_face(raised), drawn_face().float()
    moved = transfer_motion(source, first, first, neutral=neutral)
    torch.testing.assert_close(moved.landmarks, raised.float(), rtol=0, atol=1e-5)
    still = transfer_motion(source, first, first)
    torch.testing.assert_close(still.landmarks, source.landmarks, rtol=0, atol=1e-5)


def test_landmarks_in_wide_frames_move_as_in_square_ones():
    faces = [with_face(similarity(drawn_face(m), 0.4, a, 0, 0)) for m, a in ((0, 0.1), (0.2, 0.4))]
    faces.insert(0, with_face(similarity(drawn_face(0.1), 0.5, -0.3, 0.1, 0)))
    wide = torch.tensor([0.5, 1.0])
    squeezed = [face._replace(landmarks=face.landmarks * wide) for face in faces]
    square, found = (
        transfer_motion(source, driving, initial, scale=1.3, aspect=aspect).landmarks
        for (source, initial, driving), aspect in ((faces, 1.0), (squeezed, 2.0))
    )
    torch.testing.assert_close(found, square * wide)
    source, initial, _ = squeezed
    assert movement_scale(source, initial, aspect=2.0) == pytest.approx(0.5 / 0.4)


def test_landmarks_in_wide_frames_are_exaggerated_as_in_square_ones():
    source, driving = with_face(drawn_face()), with_face(drawn_face(mouth=0.2, eyes=0.06))
    gain = landmark_gains(mouth=1.5, width=1.0, eyes=2.0, brows=1.0)
    square = exaggerate_expression(source, driving, gain)
    opened = measure_expressions(square.landmarks)
    assert opened.mouth.item() == pytest.approx(0.3, abs=1e-5)
    assert opened.eyes.item() == pytest.approx(0.03, abs=1e-5)
    torch.testing.assert_close(square.positions, driving.positions)
    wide = torch.tensor([0.5, 1.0])
    squeezed = [face._replace(landmarks=face.landmarks * wide) for face in (source, driving)]
    found = exaggerate_expression(*squeezed, gain, aspect=2.0)
    torch.testing.assert_close(found.landmarks, square.landmarks * wide)


@pytest.mark.parametrize(("size", "scale"), [(0.2, 2.0), (0.4, 1.25), (2.0, 0.5)])
def test_with_landmarks_faces_are_compared_by_their_eyes_within_bounds(size, scale):
    source, initial = (with_face(similarity(drawn_face(), s, 0.3, 0, 0)) for s in (0.5, size))
    assert movement_scale(source, initial) == pytest.approx(scale)


@pytest.mark.parametrize(
    ("strength", "has_landmarks", "says"),
    [
        (MotionStrength(head=2.1), True, "--head is a strength from 0 to 2: found 2.1"),
        (MotionStrength(expression=-1), True, "--expression is a strength from 0 to 2: found -1"),
        (MotionStrength(head=math.nan), True, "--head is a strength from 0 to 2: found nan"),
        (MotionStrength(parts=("mouth", "teeth")), True, "jaw, .* eyes and mouth.*: found 'teeth'"),
        (MotionStrength(parts=("",)), True, "found ''"),
        (MotionStrength(expression=0.5), False, "finds facial landmarks"),
        (MotionStrength(parts=("mouth",)), False, "finds facial landmarks"),
    ],
)
def test_strengths_that_cannot_be_are_told_in_a_sentence(strength, has_landmarks, says):
    with pytest.raises(InputError, match=says) as caught:
        strength.require_usable(has_landmarks)
    assert len(str(caught.value).splitlines()) == 1


def test_the_head_alone_needs_no_landmarks():
    MotionStrength(head=0.5).require_usable(has_landmarks=False)
    MotionStrength(head=2.0, expression=0.0, parts=("mouth",)).require_usable(has_landmarks=True)


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
