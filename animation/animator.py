"""The network with pictures going in and coming out.

It streams: the source is encoded once, driving frames are taken, rendered and yielded in batches,
each of which is begun before the one before it is waited for.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from animation.motion_template import fingerprint
from animation.motion_transfer import (
    AS_DRIVEN,
    MotionStrength,
    movement_scale,
    transfer_motion,
)
from animation.neutral_face import NeutralSoFar, find_neutral
from inference.device_transfer import BusyTime, Download, Transfer
from inference.fused_network import FusedEncoded
from inference.precision import Inference
from modules.checkpoints import load_model, read_config
from modules.geometry import Keypoints
from modules.mcnet import MCNet, ModelConfig
from utils.device import pick_device, precision_name
from utils.errors import InputError

Motion = Literal["relative", "absolute"]
Fit = Literal["crop", "pad", "squash"]
Item = TypeVar("Item")

PUBLISHED_SIZE = 256  # published checkpoints do not say what they were trained on
BATCH_SIZES = {"cpu": 4, "cuda": 16, "mps": 4}  # on a processor no larger one is faster
NOT_FINITE = (
    "The network produced values that are not finite, in float32 too: use another checkpoint."
)

logger = logging.getLogger(__name__)


class PendingBatch(NamedTuple):
    """A batch of frames that the device may still be computing."""

    encoded: FusedEncoded
    driving: Keypoints
    results: Download


class Animator:
    """A network that animates pictures, RGB uint8 (H, W, 3); those that go in are of any size.

        animator = Animator.from_checkpoint("weights.pth.tar")
        for frame in animator.animate(source, driving_frames):
            ...

    Its methods ``encode``, ``detect`` and ``render`` (or ``predict``, to tensors) are the steps of
    ``animate``.
    """

    def __init__(
        self,
        model: MCNet,
        size: tuple[int, int],
        *,
        fit: Fit = "crop",
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        """Generates frames of ``size`` (H, W), to which ``fit`` brings the pictures given."""
        if any(side < 1 or side % model.size_multiple for side in size):
            raise InputError(
                f"This network makes frames whose sides are multiples of {model.size_multiple}: "
                f"found {size[1]} x {size[0]} pixels; choose another size."
            )
        self.size = size
        self.how_to_fit: Fit = fit
        self.checkpoint: Path | None = None  # that the network is from
        self.reported: set[tuple[int, int]] = set()  # sizes of pictures that were made to fit
        self.device = pick_device(device)
        self.batch_size = BATCH_SIZES[self.device.type]
        self.network = Inference(model, self.device, precision)
        self.transfer = Transfer(self.device)
        self.busy = BusyTime(self.device)
        self.detector_fingerprint = fingerprint(model.detector, model.landmark_detector)
        self.has_landmarks = model.landmark_detector is not None

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path,
        *,
        config: ModelConfig | None = None,
        size: int | tuple[int, int] | None = None,
        fit: Fit = "crop",
        device: str = "auto",
        precision: str = "auto",
    ) -> "Animator":
        """The network of a checkpoint, ours or a published one (``config`` where it is neither).

        Without a ``size`` it generates frames of the size that it was trained on.
        """
        model = load_model(checkpoint, config)
        if size is None:
            resolved = read_config(checkpoint)
            size = resolved["data"]["size"] if resolved else PUBLISHED_SIZE
        height, width = (size, size) if isinstance(size, int) else size
        animator = cls(model, (height, width), fit=fit, device=device, precision=precision)
        animator.checkpoint = Path(checkpoint)
        return animator

    def animate(
        self,
        source: np.ndarray,
        frames: Iterable[np.ndarray],
        *,
        motion: Motion = "relative",
        adapt_scale: bool = False,
        initial: np.ndarray | None = None,
        batch_size: int | None = None,
        strength: MotionStrength = AS_DRIVEN,
    ) -> Iterator[np.ndarray]:
        """The source re-enacted: one frame for each driving frame, as they are asked for.

        Relative motion counts from the driving frame ``initial``, or else from the first, and
        with ``adapt_scale``, or where the network finds landmarks, grows with the source's face.
        Without ``initial``, expressions are relative to the most neutral face among the frames so
        far; else no frame depends on the one before.  Frames are taken up to two batches before
        the one that is yielded.  Raises InputError for a ``strength`` that the network does not
        allow.
        """
        yield from self.animate_keypoints(
            source,
            map(self.detect, batches(frames, batch_size or self.batch_size)),
            motion=motion,
            adapt_scale=adapt_scale,
            initial=None if initial is None else self.detect([initial]),
            strength=strength,
        )

    def animate_keypoints(
        self,
        source: np.ndarray,
        driving: Iterable[Keypoints],
        *,
        motion: Motion = "relative",
        adapt_scale: bool = False,
        initial: Keypoints | None = None,
        strength: MotionStrength = AS_DRIVEN,
    ) -> Iterator[np.ndarray]:
        """The same, driven by keypoints, in batches of any sizes on the network's device."""
        strength.require_usable(self.has_landmarks)
        encoded = self.encode(source)
        neutral_so_far = None
        if initial is None and self.has_landmarks and motion == "relative":
            neutral_so_far = NeutralSoFar(encoded.keypoints.landmarks, self.aspect)
        scale: float | None = None
        begun: PendingBatch | None = None
        for keypoints in driving:
            if initial is None:
                initial = Keypoints(*(part[:1] for part in keypoints))
            moved = keypoints
            if motion == "relative":
                if scale is None:
                    scale = self.movement_scale(encoded.keypoints, initial, adapt_scale)
                neutral = None
                if neutral_so_far is not None:
                    neutral = neutral_so_far(keypoints.landmarks)
                moved = transfer_motion(
                    *(encoded.keypoints, keypoints, initial),
                    scale=scale,
                    strength=strength,
                    neutral=neutral,
                    aspect=self.aspect,
                )
            before, begun = begun, self.begin(encoded, moved)
            if before is not None:
                yield from self.finish(before)
        if begun is not None:
            yield from self.finish(begun)

    def movement_scale(self, source: Keypoints, initial: Keypoints, adapt_scale: bool) -> float:
        """Measure how much farther the source's face moves: 1 if the scale is not adapted.

        Where the network finds landmarks it always is: they say how large both faces are.
        """
        if not adapt_scale and not self.has_landmarks:
            return 1.0
        return movement_scale(source, initial, self.aspect)

    def neutral_frame(self, source: np.ndarray, driving: Keypoints) -> int:
        """Find the most neutral of driving frames, for a network that finds landmarks."""
        own = self.detect([source]).landmarks
        return find_neutral(driving.landmarks, own, self.aspect)

    @property
    def aspect(self) -> float:
        """The width of a frame over its height, between the centres of corner pixels."""
        height, width = self.size
        return max(width - 1, 1) / max(height - 1, 1)

    @torch.inference_mode()
    def encode(self, *sources: np.ndarray) -> FusedEncoded:
        """All that depends on the sources alone; one serves any number of driving frames."""
        with self.busy.counted():
            return self.network.encode(self.to_tensor(sources))

    @torch.inference_mode()
    def detect(self, frames: Sequence[np.ndarray]) -> Keypoints:
        """The keypoints of frames of any size."""
        with self.busy.counted():
            return self.network.detect(self.to_tensor(frames))

    def render(self, encoded: FusedEncoded, driving: Keypoints) -> np.ndarray:
        """The source moved to the driving keypoints: uint8 (B, H, W, 3).

        Raises InputError where a value is not finite, in float32 either.
        """
        return self.finish(self.begin(encoded, driving))

    @torch.inference_mode()
    def begin(self, encoded: FusedEncoded, driving: Keypoints) -> PendingBatch:
        """The same, of which ``finish`` gives the frames: a GPU is not waited for."""
        with self.busy.counted():
            prediction = self.network.render(encoded, driving)
            return PendingBatch(encoded, driving, self.to_pictures(prediction))

    @torch.inference_mode()
    def finish(self, begun: PendingBatch) -> np.ndarray:
        """The frames of a batch that was begun."""
        frames, finite = begun.results.wait()
        if not finite and self.precision != torch.float32:
            with self.busy.counted():
                prediction = self.network.render_again(begun.encoded, begun.driving)
                results = self.to_pictures(prediction)
            frames, finite = results.wait()
        if not finite:
            raise InputError(NOT_FINITE)
        return frames

    @torch.inference_mode()
    def predict(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """What ``render`` rounds, on the device, finite or not: (B, 3, H, W) in [0, 1]."""
        with self.busy.counted():
            prediction = self.network.render(encoded, driving)
            if self.precision != torch.float32 and not prediction.isfinite().all():
                prediction = self.network.render_again(encoded, driving)
            return prediction

    @property
    def detects_landmarks(self) -> bool:
        """Whether ``detect`` finds facial landmarks too: the network has a detector of them."""
        return self.network.fused.landmark_detector is not None

    @property
    def precision(self) -> torch.dtype:
        """The type to multiply in; "auto" is not decided before a frame is rendered."""
        return self.network.precision

    def checked_precision(self, pictures: Iterable[tuple[np.ndarray, np.ndarray]]) -> str:
        """The name of the precision: "auto" is decided, if need be, by the first of ``pictures``.

        These are sources, each with a driving frame.
        """
        if not self.network.precision_checked:
            for source, driving in itertools.islice(pictures, 1):
                with torch.inference_mode():
                    self.network.check_precision(self.encode(source), self.detect([driving]))
        return precision_name(self.precision)

    def to_tensor(self, images: Sequence[np.ndarray]) -> Tensor:
        """Pictures of any size as a batch for the network: (B, 3, H, W) in [0, 1]."""
        fitted = self.transfer.upload(np.stack([self.fit(image) for image in images]))
        return fitted.permute(0, 3, 1, 2).float() / 255

    def to_pictures(self, prediction: Tensor) -> Download:
        """(B, 3, H, W) in [0, 1] -> pictures (B, H, W, 3), and whether all values are finite."""
        pictures = (prediction * 255).round().byte().permute(0, 2, 3, 1).contiguous()
        return self.transfer.download(pictures, prediction.isfinite().all())

    def fit(self, image: np.ndarray) -> np.ndarray:
        """``image`` brought to the network's size."""
        require_picture(image)
        if image.shape[:2] == self.size:
            return image
        height, width = self.size
        self.report_fit(image.shape[0], image.shape[1])
        picture = Image.fromarray(image)
        if self.how_to_fit == "crop":
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
        elif self.how_to_fit == "pad":
            picture = ImageOps.pad(picture, (width, height), Image.Resampling.BICUBIC)
        else:
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(picture)

    def report_fit(self, height: int, width: int) -> None:
        """Says, once for each size of pictures, what makes their shape the network's."""
        same_shape = height * self.size[1] == width * self.size[0]
        if same_shape or (height, width) in self.reported:
            return
        self.reported.add((height, width))
        done = {
            "crop": "cropped to their centre",
            "pad": "padded with black",
            "squash": "squashed",
        }
        logger.info(
            "Pictures of %d x %d pixels are %s to fit %d x %d.",
            *(width, height, done[self.how_to_fit], self.size[1], self.size[0]),
        )


def require_picture(image: np.ndarray) -> None:
    """Raises InputError for what is not RGB uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            "A picture must be RGB uint8 of shape (H, W, 3): found "
            f"{image.dtype} of shape {image.shape}."
        )


def batches(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """``items`` in lists of ``batch_size``, the last of which may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, batch_size)):
        yield batch
