"""Pictures in, animated pictures out: the network with everything that surrounds it.

Animation streams: the source is encoded once; driving frames are taken, rendered and yielded in
batches.  Several batches are in flight: one on each CPU thread, or two on a GPU, one computing and
one being read back.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from animation.landmark_motion import landmark_gains
from animation.motion_template import fingerprint
from animation.motion_transfer import (
    AS_DRIVEN,
    MotionStrength,
    RelativeMotion,
    exaggerate_expression,
    frames_of,
)
from animation.neutral_face import NeutralSoFar, find_neutral
from inference.device_transfer import BusyTime, Download, Transfer
from inference.fused_network import FusedEncoded
from inference.precision import Inference
from inference.streams import Streams
from media.pictures import unit_range
from modules.checkpoints import load_model, read_config
from modules.geometry import Keypoints
from modules.mcnet import ExpressionGain, MCNet, ModelConfig
from utils.device import pick_device, precision_name
from utils.errors import InputError
from utils.malloc import outside_heap

Motion = Literal["relative", "absolute"]
ResizeMode = Literal["crop", "pad", "squash"]  # how a whole picture of another shape is made to fit
Item = TypeVar("Item")

PUBLISHED_SIZE = 256  # published checkpoints do not say what they were trained on
BATCH_SIZES = {"cpu": 4, "cuda": 16, "mps": 4}  # on a CPU no larger one is faster
RESIZED = {"crop": "cropped to their centre", "pad": "padded with black", "squash": "squashed"}
NOT_FINITE = (
    "The network produced values that are not finite, in float32 too: use another checkpoint."
)

logger = logging.getLogger(__name__)


class PendingBatch(NamedTuple):
    """A batch of frames that the device may still be computing."""

    encoded: FusedEncoded
    driving: Keypoints
    frames: Download


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
        resize_mode: ResizeMode = "crop",
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        """Generate frames of ``size`` (H, W); other pictures are resized by ``resize_mode``."""
        if any(side < 1 or side % model.size_multiple for side in size):
            raise InputError(
                f"This network makes frames whose sides are multiples of {model.size_multiple}: "
                f"found {size[1]} x {size[0]} pixels; choose another size."
            )
        self.size = size
        self.resize_mode: ResizeMode = resize_mode
        self.checkpoint: Path | None = None  # that the network is from
        self.reported: set[tuple[int, int]] = set()  # sizes of pictures that were made to fit
        self.device = pick_device(device)
        self.batch_size = BATCH_SIZES[self.device.type]
        self.network = Inference(model, self.device, precision)
        self.transfer = Transfer(self.device)
        self.busy = BusyTime(self.device)
        self.streams = Streams(self.device)
        self.detector_fingerprint = fingerprint(model.detector, model.landmark_detector)
        self.detects_landmarks = model.landmark_detector is not None
        self.gains: Tensor | None = None  # of expressions, for each landmark
        if self.detects_landmarks and model.config.expression_gain != ExpressionGain():
            gains = model.config.expression_gain.model_dump()
            self.gains = landmark_gains(**gains).to(self.device)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: str | Path,
        *,
        config: ModelConfig | None = None,
        size: int | tuple[int, int] | None = None,
        resize_mode: ResizeMode = "crop",
        device: str = "auto",
        precision: str = "auto",
    ) -> "Animator":
        """Load the network of a checkpoint: ours, a published one, or with ``config`` any other.

        Without a ``size`` it generates frames of the size that it was trained on.
        """
        model = load_model(checkpoint, config)
        if size is None:
            resolved = read_config(checkpoint)
            size = resolved["data"]["size"] if resolved else PUBLISHED_SIZE
        height, width = (size, size) if isinstance(size, int) else size
        animator = cls(
            model, (height, width), resize_mode=resize_mode, device=device, precision=precision
        )
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
        """Re-enact the source: yield one picture (H, W, 3) uint8 for each driving frame, lazily.

        Relative motion is relative to the driving frame ``initial``, or else to the first, and
        with ``adapt_scale``, or where the network finds landmarks, grows with the source's face.
        Without ``initial``, expressions are relative to the most neutral face among the frames so
        far; else no frame depends on the one before.  Frames are taken two batches for each CPU
        thread (two on a GPU) before the one that is yielded.  Raises InputError for a ``strength``
        that the network does not allow.
        """
        yield from self.animate_keypoints(
            source,
            self.streams.map(self.detect, batches(frames, batch_size or self.batch_size)),
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
        """Re-enact the source by driving keypoints, in batches of any size on the device.

        Yields pictures (H, W, 3) uint8; the options are those of ``animate``.
        """
        strength.require_usable(self.detects_landmarks)
        encoded = self.encode(source)
        if motion == "relative":
            driving = self.relative_motion(
                encoded, driving, adapt_scale=adapt_scale, initial=initial, strength=strength
            )
        for pending in self.streams.map(partial(self.submit, encoded), driving):
            yield from self.result(pending)

    def relative_motion(
        self,
        encoded: FusedEncoded,
        driving: Iterable[Keypoints],
        *,
        adapt_scale: bool,
        initial: Keypoints | None,
        strength: MotionStrength,
    ) -> Iterator[Keypoints]:
        """Move the source's keypoints as the driving ones (B, K, ...) move from ``initial``."""
        relative: RelativeMotion | None = None
        for keypoints in driving:
            if relative is None:
                neutral = None
                if initial is None and self.detects_landmarks:
                    neutral = NeutralSoFar(encoded.keypoints.landmarks, self.aspect)
                relative = RelativeMotion(
                    encoded.keypoints,
                    frames_of(keypoints, slice(1)) if initial is None else initial,
                    adapt_scale=adapt_scale,
                    strength=strength,
                    neutral=neutral,
                    aspect=self.aspect,
                )
            yield relative(keypoints)

    def neutral_frame(self, source: np.ndarray, driving: Keypoints) -> int:
        """Find the most neutral of driving frames (T, K, ...), for a network with landmarks."""
        own = self.detect([source]).landmarks
        return find_neutral(driving.landmarks, own, self.aspect)

    @property
    def aspect(self) -> float:
        """Width of a frame divided by its height, between the centres of corner pixels."""
        height, width = self.size
        return max(width - 1, 1) / max(height - 1, 1)

    @torch.inference_mode()
    def encode(self, *sources: np.ndarray) -> FusedEncoded:
        """Compute all that depends on the sources (H, W, 3) alone, for any driving frames."""
        with self.busy.counted():
            return self.network.encode(self.to_tensor(sources))

    @torch.inference_mode()
    def detect(self, frames: Sequence[np.ndarray]) -> Keypoints:
        """Detect the keypoints (B, K, ...) of B frames (H, W, 3) of any sizes."""
        with self.busy.counted():
            return self.network.detect(self.to_tensor(frames))

    def render(self, encoded: FusedEncoded, driving: Keypoints) -> np.ndarray:
        """Render the source moved to the driving keypoints: uint8 (B, H, W, 3).

        Raises InputError where a value is not finite, in float32 either.
        """
        return self.result(self.submit(encoded, driving))

    @torch.inference_mode()
    def submit(self, encoded: FusedEncoded, driving: Keypoints) -> PendingBatch:
        """Begin to render driving keypoints (B, K, ...) without waiting for the GPU."""
        with self.busy.counted():
            driving = self.exaggerated(encoded, driving)
            prediction = self.network.render(encoded, driving)
            return PendingBatch(encoded, driving, self.to_pictures(prediction))

    @torch.inference_mode()
    def result(self, pending: PendingBatch) -> np.ndarray:
        """Wait for a submitted batch and return its frames: uint8 (B, H, W, 3)."""
        frames, finite = pending.frames.wait()
        if not finite and self.precision != torch.float32:
            with self.busy.counted():
                prediction = self.network.render_again(pending.encoded, pending.driving)
                repeated = self.to_pictures(prediction)
            frames, finite = repeated.wait()
        if not finite:
            raise InputError(NOT_FINITE)
        return outside_heap(frames)

    @torch.inference_mode()
    def predict(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """Render to a tensor on the device, finite or not: (B, 3, H, W) in [0, 1], not rounded."""
        with self.busy.counted():
            driving = self.exaggerated(encoded, driving)
            prediction = self.network.render(encoded, driving)
            if self.precision != torch.float32 and not prediction.isfinite().all():
                prediction = self.network.render_again(encoded, driving)
            return prediction

    def exaggerated(self, encoded: FusedEncoded, driving: Keypoints) -> Keypoints:
        """Exaggerate driving expressions as the network asks for (``model.expression_gain``)."""
        if self.gains is None:
            return driving
        return exaggerate_expression(encoded.keypoints, driving, self.gains, self.aspect)

    @property
    def precision(self) -> torch.dtype:
        """Type to multiply in; "auto" is decided when the first frame is rendered."""
        return self.network.precision

    def checked_precision(self, pictures: Iterable[tuple[np.ndarray, np.ndarray]]) -> str:
        """Name the precision; "auto" is decided by the first source and driving frame given."""
        if not self.network.precision_checked:
            for source, driving in itertools.islice(pictures, 1):
                with torch.inference_mode():
                    self.network.check_precision(self.encode(source), self.detect([driving]))
        return precision_name(self.precision)

    def to_tensor(self, images: Sequence[np.ndarray]) -> Tensor:
        """Resize pictures of any size into a batch for the network: (B, 3, H, W) in [0, 1]."""
        resized = np.stack([self.fit(image) for image in images])
        return unit_range(self.transfer.upload(resized))

    def to_pictures(self, prediction: Tensor) -> Download:
        """Round (B, 3, H, W) in [0, 1] to pictures (B, H, W, 3); also tell if all are finite."""
        pictures = (prediction * 255).round_().byte().permute(0, 2, 3, 1).contiguous()
        return self.transfer.download(pictures, prediction.isfinite().all())

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Resize a whole picture (h, w, 3) to the network's size (H, W, 3), by ``resize_mode``."""
        require_picture(image)
        if image.shape[:2] == self.size:
            return image
        height, width = self.size
        self.report_resizing(image.shape[0], image.shape[1])
        picture = Image.fromarray(image)
        if self.resize_mode == "crop":
            picture = ImageOps.fit(picture, (width, height), Image.Resampling.BICUBIC)
        elif self.resize_mode == "pad":
            picture = ImageOps.pad(picture, (width, height), Image.Resampling.BICUBIC)
        else:
            picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(picture)

    def report_resizing(self, height: int, width: int) -> None:
        """Log, once for each size of pictures in pixels, how their shape is changed."""
        own_height, own_width = self.size
        if height * own_width == width * own_height or (height, width) in self.reported:
            return
        self.reported.add((height, width))
        logger.info(
            "Pictures of %d x %d pixels are %s to fit %d x %d.",
            width,
            height,
            RESIZED[self.resize_mode],
            own_width,
            own_height,
        )


def require_picture(image: np.ndarray) -> None:
    """Raise InputError for anything that is not RGB uint8 (H, W, 3)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            "A picture must be RGB uint8 of shape (H, W, 3): found "
            f"{image.dtype} of shape {image.shape}."
        )


def batches(items: Iterable[Item], batch_size: int) -> Iterator[list[Item]]:
    """Split ``items`` into lists of ``batch_size``, the last of which may be shorter."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, batch_size)):
        yield batch
