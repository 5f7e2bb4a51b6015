"""How the files of one animation become frames of the network, and its frames become the output.

Plainly: pictures of another shape are cropped to their centre, padded or squashed, and the output
is what the network gives.  Or as in training: both faces are cut as the training frames were, which
is undone in the output.
"""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from datasets.geometry import PUBLISHED, Box, Geometry
from datasets.main_face import main_face, main_face_of_video
from datasets.pictures import Picture
from datasets.training_crop import TrainingCrop
from evaluation.animation import Fitter
from modules.animator import Animator
from modules.checkpoints import read_config
from modules.errors import InputError

OTHERS = "use --fit crop, pad or squash"


class Fitting(NamedTuple):
    """From pictures of any size to the network's, and from there to the output's."""

    source: Fitter
    driving: Fitter
    result: Fitter


def plain_fitting(animator: Animator) -> Fitting:
    """Each picture by itself, as the animator fits it; the network's frames are the output."""
    return Fitting(animator.fit, animator.fit, lambda frame: frame)


def training_fitting(
    animator: Animator,
    geometry: Geometry,
    source: Path,
    driving: Path,
    picture: Picture,
    *,
    paste: bool,
) -> Fitting:
    """The face of the source's ``picture``, and the one of all driving frames, as in training.

    The output has the proportions of the source's cut, or is with ``paste`` the whole picture with
    the cut in it.  Raises InputError where one of the files shows no face.
    """

    def crop_around(face: Box | None, path: Path) -> TrainingCrop:
        if face is None:
            raise InputError(f"No face was found in {path}, which --fit training needs: {OTHERS}.")
        return TrainingCrop.around(face, geometry, animator.size)

    source_crop = crop_around(main_face(picture), source)
    driving_crop = crop_around(main_face_of_video(driving), driving)
    result = partial(source_crop.paste, picture=picture) if paste else source_crop.region
    return Fitting(source_crop.frame, driving_crop.frame, result)


def training_geometry(checkpoint: str | Path) -> Geometry:
    """How the frames were cut that a network was trained on.

    Published checkpoints are taken to be trained on VoxCeleb1 as published.  Raises InputError
    where one of ours does not say it.
    """
    config = read_config(checkpoint)
    if config is None:
        return PUBLISHED
    stated = config["data"].get("geometry")
    if stated is None:
        raise InputError(
            f"{checkpoint} does not say how its training frames were cut (data.geometry), which "
            f"--fit training needs: name a --config that does, or {OTHERS}."
        )
    try:
        return Geometry.model_validate_json(json.dumps(stated))
    except ValidationError as error:
        raise InputError(
            f"The data.geometry in {checkpoint} is not of this version of the project: {OTHERS}."
        ) from error
