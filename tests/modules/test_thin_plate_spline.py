from functools import partial

import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from modules import thin_plate_spline
from modules.geometry import coordinate_grid
from modules.thin_plate_spline import evaluate, fit, fit_landmarks, spline_motion


def random_landmarks(batch: int = 2, num: int = 12, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, num, 2, generator=generator) * 1.2 - 0.6


def moved(landmarks: torch.Tensor, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return landmarks + 0.05 * torch.randn(landmarks.shape, generator=generator)


def test_it_is_the_spline_of_scipy():
    points, values, z = random_landmarks(), moved(random_landmarks()), random_landmarks(1, 50, 2)[0]
    found = evaluate(points, fit(points, values), z)
    for i in range(2):
        # scipy's kernel is the same; its smoothing is added to the diagonal likewise.
        slow = RBFInterpolator(
            *(x[i].double().numpy() for x in (points, values)),
            kernel="thin_plate_spline",
            smoothing=thin_plate_spline.SMOOTHING,
        )
        np.testing.assert_allclose(found[i].numpy(), slow(z.double().numpy()), atol=2e-4)


def test_driving_landmarks_come_from_the_source_landmarks():
    driving, size = random_landmarks(num=6), (65, 65)
    cells = ((driving + 1) / 2 * 64).round()  # on the grid, where the motion is known
    driving = cells / 64 * 2 - 1
    source = moved(driving)
    motion = spline_motion(source, driving, size)
    for i, landmarks in enumerate(cells.long()):
        found = motion[i, landmarks[:, 1], landmarks[:, 0]]
        assert (found - source[i]).abs().max() < 0.01


def test_known_coefficients_are_not_solved_for():
    driving = random_landmarks()
    source = moved(driving)
    expected = spline_motion(source, driving, (8, 9))
    coefficients = fit_landmarks(source, driving)
    assert torch.equal(spline_motion(driving, driving, (8, 9), coefficients), expected)


def shut_lids(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Source and driving landmarks (2, 20, 2), whose upper and lower lids nearly meet."""
    lids = torch.tensor([[x, -0.2] for x in (-0.3, -0.2, 0.2, 0.3)]).expand(2, -1, -1)
    gap = torch.tensor([0.0, 0.008])
    rest = random_landmarks(seed=seed)
    driving = torch.cat([rest, lids, lids + gap], dim=1)
    return torch.cat([moved(rest, seed), lids, lids + 5 * gap], dim=1), driving


@pytest.mark.parametrize("seed", range(4))
def test_float32_is_exact_everywhere_though_large_weights_cancel(seed):
    source, driving = shut_lids(seed)
    assert fit_landmarks(source, driving).abs().max() > 40
    exact = spline_motion(source.double(), driving.double(), (64, 64))
    found = spline_motion(source, driving, (64, 64))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=0)


def test_coefficients_are_solved_for_in_float64():
    source, driving = shut_lids(seed=0)
    found = fit_landmarks(source, driving)
    assert found.dtype == torch.float32
    exact = fit_landmarks(source.double(), driving.double())
    torch.testing.assert_close(found.double(), exact, atol=0, rtol=1e-5)


def test_gradients_are_those_of_differences():
    source, driving = (
        x.double().requires_grad_() for x in (moved(random_landmarks()), random_landmarks())
    )
    motion = partial(spline_motion, size=(3, 4))
    assert torch.autograd.gradcheck(motion, (source, driving))


def test_equal_landmarks_move_nothing():
    landmarks = random_landmarks()
    grid = coordinate_grid((8, 9), like=landmarks)
    motion = spline_motion(landmarks, landmarks, (8, 9))
    torch.testing.assert_close(motion, grid.expand_as(motion), atol=1e-6, rtol=0)


def test_the_border_of_the_picture_nearly_stays():
    driving = random_landmarks()
    motion = spline_motion(driving + 0.1, driving, (33, 33))
    shift = motion - coordinate_grid((33, 33), like=driving)
    assert shift[:, 0].abs().max() < 0.03
    assert shift[:, :, -1].abs().max() < 0.03
    assert shift[:, 16, 16].min() > 0.05


def test_two_landmarks_on_one_spot_do_no_harm():
    driving = random_landmarks()
    driving[:, 3] = driving[:, 4]
    motion = spline_motion(moved(driving), driving, (16, 16))
    assert motion.isfinite().all()
    assert motion.abs().max() < 1.5
    everything = torch.zeros(1, 5, 2)
    assert spline_motion(everything, everything, (4, 4)).isfinite().all()
