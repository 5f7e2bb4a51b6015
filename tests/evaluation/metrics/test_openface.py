import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.metrics.openface import OpenFace, centred
from tests.golden import GOLDEN, needs_golden, weights
from utils.errors import InputError


def published() -> dict[str, torch.Tensor]:
    layout = json.loads((GOLDEN / "openface_layout.json").read_text())
    return {
        name: torch.from_numpy(np.array(weights().fill_openface(name, tuple(shape), seed=0)))
        for name, shape in layout.items()
    }


@needs_golden
@pytest.mark.parametrize("counted", [True, False])
def test_published_weights_give_the_published_numbers(tmp_path, counted):
    state = published()
    if not counted:  # as files of before PyTorch 0.4.1
        state = {name: state[name] for name in state if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "openface.pth")
    network = OpenFace.load(tmp_path / "openface.pth")
    with np.load(GOLDEN / "openface_seed0.npz") as golden, torch.no_grad():
        images = torch.from_numpy(golden["input"])
        features, embedding = network.features(images), network(images)
        np.testing.assert_allclose(features.numpy(), golden["feature_736"], atol=1e-4)
        np.testing.assert_allclose(embedding.numpy(), golden["embedding"], atol=1e-5)


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    network = OpenFace().eval()
    images = torch.rand(3, 3, 96, 96)
    with torch.no_grad():
        embedded = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    assert embedded.shape == (3, 128)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(embedded, alone)


def test_smaller_maps_are_centred_with_the_odd_row_below_and_the_odd_column_right():
    padded = centred(torch.ones(1, 1, 2, 1), height=5, width=3)
    expected = torch.zeros(5, 3)
    expected[1:3, 1] = 1
    assert torch.equal(padded[0, 0], expected)
    assert centred(torch.ones(1, 1, 2, 2), height=3, width=3)[0, 0].tolist() == [
        [1, 1, 0],
        [1, 1, 0],
        [0, 0, 0],
    ]


@pytest.mark.parametrize(
    "content", [{"layer1.weight": torch.zeros(64, 3, 7, 7)}, [1, 2], {"state_dict": {}}, Path(".")]
)
def test_a_file_of_something_else_is_refused_in_a_sentence(tmp_path, content):
    torch.save(content, tmp_path / "openface.pth")
    with pytest.raises(InputError, match=r"openface\.pth does not hold the OpenFace weights"):
        OpenFace.load(tmp_path / "openface.pth")


def test_a_damaged_or_missing_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="does not hold the OpenFace weights"):
        OpenFace.load(tmp_path / "openface.pth")
    (tmp_path / "openface.pth").write_bytes(b"not weights")
    with pytest.raises(InputError, match="does not hold the OpenFace weights"):
        OpenFace.load(tmp_path / "openface.pth")
