import torch

from modules.dense_motion import (
    DenseMotionConfig,
    DenseMotionNetwork,
    motion_heatmaps,
    sparse_motions,
)
from modules.face_landmarks import NUM_LANDMARKS
from modules.geometry import coordinate_grid
from modules.thin_plate_spline import spline_motion
from tests.tiny import random_images, random_keypoints


def test_equal_keypoints_move_nothing():
    keypoints = random_keypoints(batch=2, num_kp=5)
    motions = sparse_motions(keypoints, keypoints, size=(8, 9))
    grid = coordinate_grid((8, 9), motions)
    torch.testing.assert_close(motions, grid.expand_as(motions), atol=1e-5, rtol=0)


def test_sparse_motions_follow_the_equation():
    source, driving = random_keypoints(seed=1), random_keypoints(seed=2)
    motions = sparse_motions(source, driving, size=(8, 9))
    z = coordinate_grid((8, 9), motions)[5, 3]
    for sample in range(2):
        for k in range(4):
            linear = source.jacobians[sample, k] @ driving.jacobians[sample, k].inverse()
            offset = z - driving.positions[sample, k]
            expected = source.positions[sample, k] + linear @ offset
            torch.testing.assert_close(motions[sample, k + 1, 5, 3], expected)


def test_the_first_motion_is_the_background():
    motions = sparse_motions(random_keypoints(seed=1), random_keypoints(seed=2), size=(8, 9))
    torch.testing.assert_close(
        motions[:, 0], coordinate_grid((8, 9), motions).expand(2, -1, -1, -1)
    )


def test_the_background_has_an_empty_heatmap():
    source, driving = random_keypoints(seed=1), random_keypoints(seed=2)
    heatmaps = motion_heatmaps(source, driving, (8, 9), variance=0.01)
    assert heatmaps.shape == (2, 5, 8, 9)
    assert heatmaps[:, 0].abs().max() == 0
    swapped = motion_heatmaps(driving, source, (8, 9), variance=0.01)
    torch.testing.assert_close(heatmaps, -swapped)


def make_network() -> DenseMotionNetwork:
    torch.manual_seed(0)
    config = DenseMotionConfig(width=4, depth=2, max_width=16, downsample=2)
    return DenseMotionNetwork(config, num_kp=4).eval()


def test_masks_share_every_pixel_out():
    motion = make_network()(random_images(), random_keypoints(seed=1), random_keypoints(seed=2))
    assert motion.deformation.shape == (2, 16, 24, 2)
    torch.testing.assert_close(motion.mask.sum(dim=1), torch.ones(2, 16, 24))
    assert motion.occlusion.shape == (2, 1, 16, 24)
    assert 0 <= motion.occlusion.min() <= motion.occlusion.max() <= 1


def test_equal_keypoints_give_the_identity_deformation():
    keypoints = random_keypoints()
    motion = make_network()(random_images(), keypoints, keypoints)
    grid = coordinate_grid((16, 24), motion.deformation).expand(2, -1, -1, -1)
    torch.testing.assert_close(motion.deformation, grid, atol=1e-5, rtol=0)


def test_a_common_shift_of_the_keypoints_shifts_the_deformation():
    """All motions but the background's agree, so the deformation lies between the two."""
    source = random_keypoints()
    driving = source._replace(positions=source.positions + torch.tensor([0.25, 0.0]))
    motions = sparse_motions(source, driving, (8, 9))
    shift = motions[:, 1:] - coordinate_grid((8, 9), motions)
    expected = torch.tensor([-0.25, 0.0]).expand_as(shift)
    torch.testing.assert_close(shift, expected, atol=1e-5, rtol=0)


def random_landmarks(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, NUM_LANDMARKS, 2, generator=generator) - 0.5


def test_the_spline_through_landmarks_is_the_last_motion():
    source = random_keypoints()._replace(landmarks=random_landmarks(0))
    driving = random_keypoints(seed=1)._replace(landmarks=random_landmarks(1))
    motions = sparse_motions(source, driving, size=(8, 9))
    assert motions.shape == (2, 4 + 2, 8, 9, 2)
    expected = spline_motion(source.landmarks, driving.landmarks, (8, 9))
    torch.testing.assert_close(motions[:, -1], expected)
    without = sparse_motions(random_keypoints(), random_keypoints(seed=1), size=(8, 9))
    torch.testing.assert_close(motions[:, :-1], without)


def test_a_grown_network_begins_with_the_spline_on_the_face_and_its_old_motion_elsewhere():
    torch.manual_seed(0)
    config = DenseMotionConfig(width=4, depth=2, max_width=16, downsample=1)
    small, grown = (DenseMotionNetwork(config, 4, landmarks=both).eval() for both in (False, True))
    state = grown.state_dict()
    for name, value in small.state_dict().items():
        state[name][tuple(map(slice, value.shape))] = value
    grown.load_state_dict(state)
    image, source, driving = random_images(), random_keypoints(), random_keypoints(seed=1)
    old = small(image, source, driving)
    points = -0.9 + 0.2 * random_landmarks(0).abs()  # a small face in the upper left corner
    face = (source._replace(landmarks=points), driving._replace(landmarks=points))
    new = grown(image, *face)
    assert new.mask[:, -1, 1:3, 1:3].min() > 0.5
    assert new.mask[:, -1, 16:, 24:].max() < 0.05
    torch.testing.assert_close(new.occlusion, old.occlusion)
    far = (slice(None), slice(16, None), slice(24, None))
    torch.testing.assert_close(new.deformation[far], old.deformation[far], atol=0.1, rtol=0)
