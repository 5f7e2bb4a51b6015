"""Crop the faces of pictures as in training, and undo it in the output.

Pictures reach the network's size in one of two ways.  As a whole, by the animator's ``ResizeMode``;
the output is then what the network renders.  Or by a ``CropPolicy``: the face is cropped as in the
training frames, and the output has the proportions of the crop, or is the source picture with the
animated crop pasted in.
"""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from animation.animator import Animator, ResizeMode, require_picture
from faces.crop import PUBLISHED, FaceCrop, FaceCropConfig
from faces.main_face import main_face
from media.pictures import Box, Picture, Size, read_image, resized
from modules.checkpoints import read_config
from utils.errors import InputError

FitOption = Literal[ResizeMode, "face"]  # of the command line
PictureMap = Callable[[Picture], Picture]  # from pictures of one size to another

OTHERS = "use --fit crop, pad or squash"

logger = logging.getLogger(__name__)


class CropPolicy(NamedTuple):
    """Crop faces as the network's training frames were cropped."""

    face_crop: FaceCropConfig
    always: bool = True  # else not in pictures of the network's size, nor where no face is found
    paste: bool = False  # the output is the source's whole picture

    def __str__(self) -> str:
        """Describe the policy for the settings that are kept beside results."""
        when = "always" if self.always else "where there is a face"
        pasted = ", pasted" if self.paste else ""
        return f"face, {when}{pasted}: {self.face_crop.model_dump_json()}"


class FittedSource(NamedTuple):
    """A source picture at the network's size, and the way from rendered frames to the output."""

    picture: Picture
    to_output: PictureMap  # for rendered frames
    to_panel: PictureMap  # for frames as the network saw them: in the output's proportions


def fit_source(
    animator: Animator,
    source: Path | Picture,
    policy: CropPolicy | None = None,
    name: Path | str = "source",
    *,
    face: Box | None = None,
) -> FittedSource:
    """Bring a source picture, or its file, to the network's size (H, W) in pixels.

    A policy crops the ``face``, or the largest if it is left out.  Messages call the picture
    ``name``.  Raises InputError where the policy always crops and there is no face.
    """
    picture, name = (read_image(source), source) if isinstance(source, Path) else (source, name)
    require_picture(picture)

    def find_face() -> Box | None:
        return main_face(picture) if face is None else face

    crop = find_crop(animator, policy, picture.shape[:2], find_face, name)
    if crop is None or policy is None:
        return FittedSource(animator.fit(picture), lambda frame: frame, lambda frame: frame)
    to_output = partial(crop.paste, picture=picture) if policy.paste else crop.region
    return FittedSource(crop.frame(picture), to_output, crop.region)


def driving_fit(
    animator: Animator,
    policy: CropPolicy | None,
    size: Size,
    find_face: Callable[[], Box | None],
    name: Path | str,
) -> PictureMap:
    """Choose how driving pictures of ``size`` (H, W) in pixels are brought to the network's size.

    A policy crops all of them alike, around the face that ``find_face`` finds; those of another
    size are resized to it first.
    """
    crop = find_crop(animator, policy, size, find_face, name)
    if crop is None:
        return animator.fit
    return lambda picture: crop.frame(resized(picture, size))


def find_crop(
    animator: Animator,
    policy: CropPolicy | None,
    size: Size,
    find_face: Callable[[], Box | None],
    name: Path | str,
) -> FaceCrop | None:
    """Find the crop of pictures of ``size`` (H, W) in pixels; None where they are not cropped."""
    if policy is None or (size == animator.size and not policy.always):
        return None
    face = find_face()
    if face is not None:
        x, y = face.centre
        logger.info("In %s: a face %.0f pixels wide, at (%.0f, %.0f).", name, face.width, x, y)
        return FaceCrop.around(face, policy.face_crop, animator.size)
    if policy.always:
        needs = "--paste needs: leave it out" if policy.paste else f"--fit face needs: {OTHERS}"
        raise InputError(f"No face was found in {name}, which {needs}.")
    logger.info(
        "No face was found in %s: it is taken as a whole, not cropped as in training.", name
    )
    return None


def choose_policy(
    fit: FitOption | None,
    paste: bool,
    checkpoint: str | Path,
    face_crop: FaceCropConfig | None = None,
) -> CropPolicy | None:
    """Choose the policy that the options of the command line ask for.

    ``face_crop`` replaces the checkpoint's.  Without a ``fit``, faces are cropped if the checkpoint
    states how; pasting includes cropping.
    """
    if paste and fit not in (None, "face"):
        raise InputError(f"--paste undoes --fit face: leave out --fit {fit}.")
    if fit == "face" or paste:
        return CropPolicy(face_crop or require_face_crop(checkpoint), paste=paste)
    if fit is None and (face_crop := face_crop or stated_face_crop(checkpoint)):
        return CropPolicy(face_crop, always=False)
    return None


def require_face_crop(checkpoint: str | Path) -> FaceCropConfig:
    """Read how the training frames of a checkpoint were cropped.

    Published checkpoints are taken to be trained on VoxCeleb1 as published.  Raises InputError
    where one of ours does not state it.
    """
    if read_config(checkpoint) is None:
        return PUBLISHED
    stated = stated_face_crop(checkpoint)
    if stated is None:
        raise InputError(
            f"{checkpoint} does not state how its training frames were cropped (data.face_crop), "
            f"which --fit face needs: name a --config that does, or {OTHERS}."
        )
    return stated


def stated_face_crop(checkpoint: str | Path) -> FaceCropConfig | None:
    """Read ``data.face_crop`` of a checkpoint; None where it is not stated or it is published."""
    config: dict[str, Any] = read_config(checkpoint) or {"data": {}}
    stated = config["data"].get("face_crop")
    if stated is None:
        return None
    try:
        return FaceCropConfig.model_validate_json(json.dumps(stated))
    except ValidationError as error:
        raise InputError(
            f"The data.face_crop in {checkpoint} is not of this version of the project: {OTHERS}."
        ) from error
