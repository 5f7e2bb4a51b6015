"""The crop of the training frames is read; tests/test_animate_face.py applies it to files."""

from pathlib import Path
from typing import Any

import pytest
import torch

from animation.cropper import require_face_crop
from faces.crop import PUBLISHED, FaceCropConfig
from modules.checkpoints import save_weights
from tests.tiny import TINY, tiny_model
from utils.errors import InputError

SQUARE = FaceCropConfig(aspect=1.0, face_x=0.5, face_y=0.48, face_width=0.55)


def checkpoint(folder: Path, data: dict[str, Any]) -> Path:
    config = {"model": TINY.model_dump(mode="json"), "data": {"size": 32, **data}}
    save_weights(folder / "weights.safetensors", tiny_model(), config)
    return folder


def test_a_checkpoint_says_how_its_training_frames_were_cut(tmp_path):
    ours = checkpoint(tmp_path, {"face_crop": SQUARE.model_dump(mode="json")})
    assert require_face_crop(ours) == SQUARE


def test_published_checkpoints_are_of_voxceleb_as_published(tmp_path):
    torch.save({}, tmp_path / "published.pth.tar")
    assert require_face_crop(tmp_path / "published.pth.tar") == PUBLISHED
    assert PUBLISHED.aspect == 1.22


@pytest.mark.parametrize("data", [{}, {"face_crop": None}])
def test_one_of_ours_that_does_not_say_it_is_refused(tmp_path, data):
    with pytest.raises(
        InputError, match=r"does not state how .*--config .* use --fit crop, pad or squash"
    ):
        require_face_crop(checkpoint(tmp_path, data))


def test_a_crop_of_another_version_is_refused(tmp_path):
    with pytest.raises(InputError, match="not of this version"):
        require_face_crop(checkpoint(tmp_path, {"face_crop": {"aspect": 1.2, "face": 3}}))
