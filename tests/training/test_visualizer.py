import numpy as np
import pytest
import torch

from evaluation.metrics.pixels import to_pictures
from modules.geometry import Keypoints
from modules.mcnet import MCNet, ModelConfig
from tests.tiny_run import SETTINGS
from training.visualizer import HEADER, draw_keypoints, picture_grid, principal_components

COLUMNS_WITHOUT_MEMORY = 7


MEMORY = SETTINGS["model"]["memory"]


@pytest.mark.parametrize(
    ("memory", "levels"),
    [(MEMORY, 2), ({**MEMORY, "attention": "located", "levels": 1}, 1), (None, 0)],
)
def test_a_grid_has_a_row_for_each_pair_and_a_column_for_each_stage(memory, levels):
    torch.manual_seed(0)
    model = MCNet(ModelConfig.model_validate({**SETTINGS["model"], "memory": memory})).eval()
    source, driving = torch.rand(2, 3, 3, 32, 48)
    grid = picture_grid(model, source, driving)
    assert grid.dtype == np.uint8
    assert grid.shape == (HEADER + 3 * 64, (COLUMNS_WITHOUT_MEMORY + levels) * 96, 3)
    assert grid[HEADER, 0].tolist() == to_pictures(source)[0, 0, 0].tolist()
    assert grid[HEADER + 63, 95].tolist() == to_pictures(source)[0, -1, -1].tolist()


def test_numbers_that_are_not_finite_are_shown_black_and_named(caplog):
    torch.manual_seed(0)
    model = MCNet(ModelConfig.model_validate(SETTINGS["model"])).eval()
    source, driving = torch.rand(2, 2, 3, 32, 48)
    whole = picture_grid(model, source, driving)
    assert not caplog.text
    model.generator.memory.meta_memory.bank.data.fill_(torch.inf)
    model.detector.heatmaps.bias.data.fill_(torch.nan)
    grid = picture_grid(model, source, driving)
    (message,) = caplog.messages
    assert message.startswith("Not finite in the picture grid: ")
    for name in ("source kp", "driving kp", "memory 12", "prediction"):
        assert name in message
    np.testing.assert_array_equal(grid[:, : 2 * 96], whole[:, : 2 * 96])  # source and driving
    assert (grid[HEADER:, -96:] == 0).all()


def test_a_dot_stands_on_its_keypoint():
    positions = torch.tensor([[[-1.0, -1.0], [1.0, 0.0]]])  # a corner; the middle of the right
    drawn = draw_keypoints(
        torch.zeros(1, 3, 21, 41), Keypoints(positions, positions, positions[:, :0])
    )
    y, x = drawn[0].amax(dim=0).nonzero().T
    assert drawn[0, :, 0, 0].tolist() == [1, 0, 0]
    assert drawn[0, :, 10, 40].tolist() == [0, 1, 1]
    assert len(x) < 20
    assert set(y[x < 20].tolist()) <= {0, 1, 2}
    assert set(y[x >= 20].tolist()) <= {8, 9, 10, 11, 12}


def test_principal_components_find_the_directions_that_vary_most():
    torch.manual_seed(0)
    signal = torch.rand(1, 3, 6, 7) * torch.tensor([100.0, 10.0, 1.0])[:, None, None]
    mixed = torch.einsum("dc,bchw->bdhw", torch.linalg.qr(torch.randn(8, 3))[0], signal)
    found = principal_components(mixed)
    assert found.shape == (1, 3, 6, 7)
    assert found.min() == 0
    assert found.max() == 1
    correlation = torch.corrcoef(torch.stack([found[0, 0].flatten(), signal[0, 0].flatten()]))
    assert correlation[0, 1].abs() > 0.99


def test_nearly_constant_features_in_half_precision_are_drawn_too():
    """The features that a network reads from its memory after its first step, under autocast."""
    torch.manual_seed(0)
    level = torch.rand(1, 64, 1, 1) * (torch.rand(1, 64, 1, 1) > 0.5)
    feature = (level + 1e-4 * torch.randn(1, 64, 64, 64) * (level > 0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert principal_components(feature).isfinite().all()
