"""How the files of one animation become frames of the network, and its frames become the output.

Plainly: pictures of another shape are cropped to their centre, padded or squashed, and the output
is what the network gives.  Or as in training: both faces are cut as the training frames were, which
is undone in the output.
"""

import json
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from animation.animator import Animator, Fit, require_picture
from faces.crop import PUBLISHED, FaceCrop, FaceCropConfig
from faces.main_face import FacesOfVideo, main_face
from media.pictures import Box, Picture, read_image
from modules.checkpoints import read_config
from utils.errors import InputError

Fitter = Callable[[Picture], Picture]  # of pictures of one size to another
Fitting = Literal[Fit, "training"]

OTHERS = "use --fit crop, pad or squash"

logger = logging.getLogger(__name__)


class Framing(NamedTuple):
    """Faces are cut as those that the network was trained on."""

    face_crop: FaceCropConfig
    always: bool = True  # else not in pictures of the network's size, nor where no face is found
    paste: bool = False  # the output is the source's whole picture

    def as_text(self) -> str:
        """All of it, for what is kept of how results were made."""
        how = "always" if self.always else "where there is a face"
        pasted = ", pasted" if self.paste else ""
        return f"training, {how}{pasted}: {self.face_crop.model_dump_json()}"


class Portrait(NamedTuple):
    """A source as a frame of the network, and the way from such frames to those of the output."""

    frame: Picture
    output: Fitter
    seen: Fitter  # of what the network saw, for showing it: in the output's proportions


def fit_portrait(
    animator: Animator,
    source: Path | Picture,
    framing: Framing | None = None,
    name: Path | str = "source",
) -> Portrait:
    """A picture, which messages call ``name``, or its file, made to fit.

    With a ``framing`` that cuts it, the output has the proportions of the cut, or is the picture
    with the cut in it.  Raises InputError where it always cuts and there is no face.
    """
    picture, name = (read_image(source), source) if isinstance(source, Path) else (source, name)
    require_picture(picture)
    size = picture.shape[:2]
    crop = training_crop(animator, framing, size, partial(main_face, picture), name)
    if crop is None or framing is None:
        return Portrait(animator.fit(picture), lambda frame: frame, lambda frame: frame)
    output = partial(crop.paste, picture=picture) if framing.paste else crop.region
    return Portrait(crop.frame(picture), output, crop.region)


def picture_fitter(
    animator: Animator, picture: Picture, name: Path | str, framing: Framing | None = None
) -> Fitter:
    """What brings a driving picture, and others of its size, to the network's size."""
    size = picture.shape[:2]
    crop = training_crop(animator, framing, size, partial(main_face, picture), name)
    return animator.fit if crop is None else crop.frame


def video_fitter(
    animator: Animator,
    faces: FacesOfVideo,
    size: tuple[int, int],
    framing: Framing | None = None,
) -> Fitter:
    """What brings frames of a video, of this height and width, to the network's size.

    With a ``framing`` all have one cut, around the main one of ``faces``.
    """
    crop = training_crop(animator, framing, size, faces.main, faces.path)
    return animator.fit if crop is None else crop.frame


def training_crop(
    animator: Animator,
    framing: Framing | None,
    size: tuple[int, ...],
    find: Callable[[], Box | None],
    name: Path | str,
) -> FaceCrop | None:
    """The cut around the face that ``find`` finds, in pictures of ``size`` (H, W).

    None where they are not to be cut.
    """
    if framing is None or (size == animator.size and not framing.always):
        return None
    face = find()
    if face is not None:
        x, y = face.centre
        logger.info("In %s: a face %.0f pixels wide, at (%.0f, %.0f).", name, face.width, x, y)
        return FaceCrop.around(face, framing.face_crop, animator.size)
    if framing.always:
        needs = (
            "--paste needs: leave it out" if framing.paste else f"--fit training needs: {OTHERS}"
        )
        raise InputError(f"No face was found in {name}, which {needs}.")
    logger.info("No face was found in %s: it is taken as a whole, not cut as in training.", name)
    return None


def chosen_framing(
    fit: Fitting | None,
    paste: bool,
    checkpoint: str | Path,
    face_crop: FaceCropConfig | None = None,
) -> Framing | None:
    """The framing that the options of the command line ask for.

    ``face_crop`` stands in place of the checkpoint's.  Where no ``fit`` is chosen, faces are cut if
    the checkpoint states how; to paste is to cut.
    """
    if paste and fit not in (None, "training"):
        raise InputError(f"--paste undoes --fit training: leave out --fit {fit}.")
    if fit == "training" or paste:
        return Framing(face_crop or training_face_crop(checkpoint), paste=paste)
    if fit is None and (face_crop := face_crop or face_crop_in(checkpoint)):
        return Framing(face_crop, always=False)
    return None


def training_face_crop(checkpoint: str | Path) -> FaceCropConfig:
    """How the frames were cut that a network was trained on.

    Published checkpoints are taken to be trained on VoxCeleb1 as published.  Raises InputError
    where one of ours does not say it.
    """
    if read_config(checkpoint) is None:
        return PUBLISHED
    face_crop = face_crop_in(checkpoint)
    if face_crop is None:
        raise InputError(
            f"{checkpoint} does not say how its training frames were cut (data.face_crop), which "
            f"--fit training needs: name a --config that does, or {OTHERS}."
        )
    return face_crop


def face_crop_in(checkpoint: str | Path) -> FaceCropConfig | None:
    """The same where the checkpoint says it; None where it does not, as published ones never do."""
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
