"""The network as it is used: its fast form, in a precision that can be trusted.

Half precision is several times as fast and hardly to be told from float32, with most networks.  An
automatic choice is therefore checked with the first frame, and a batch of frames that overflows is
rendered again in float32: both by the network as it was trained.
"""

import logging

import torch
from torch import Tensor

from inference.fused_network import FusedEncoded, FusedMCNet, fuse
from modules.geometry import Keypoints
from modules.mcnet import MCNet, expand
from utils.device import flush_denormals, pick_precision, precision_name

# Grey levels by which the first frame may differ on average: a trained network stays well below
# half of one, and what goes wrong is far above.
MAX_DIFFERENCE = 1.0

logger = logging.getLogger(__name__)


class Inference:
    """``encode`` a source once, ``detect`` the keypoints of driving frames, ``render`` them."""

    def __init__(self, model: MCNet, device: torch.device, precision: str = "auto") -> None:
        """``precision`` is fp32, bf16, fp16 or "auto": bf16 where the hardware multiplies it."""
        self.device = device
        flush_denormals()
        if device.type == "cuda":  # keypoints need all of float32; sizes hardly change
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = True
        self.precision = pick_precision(precision, device)
        self.precision_checked = precision != "auto" or self.precision == torch.float32
        if self.precision_checked:
            logger.info("Precision: %s.", precision_name(self.precision))
        self.trained: MCNet | None = model.eval()  # as long as float32 may be needed beside form
        self.form = self._use(self.precision)
        self.overflowed = False

    def _use(self, precision: torch.dtype) -> FusedMCNet:
        """The form in ``precision``, made on the processor: not all devices have float64."""
        assert self.trained is not None
        with torch.inference_mode(False):  # weights outlive the mode
            form = fuse(self.trained.cpu(), precision).to(self.device)
        if precision == torch.float32:
            self.trained = None
        return form

    def detect(self, image: Tensor) -> Keypoints:
        """(B, 3, H, W) in [0, 1] -> its keypoints."""
        return self.form.detect(image)

    def encode(self, source: Tensor) -> FusedEncoded:
        """(B, 3, H, W) in [0, 1] -> all that a driving frame does not change."""
        return self.form.encode(source)

    def render(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """The source moved to the driving keypoints: (B, 3, H, W) in [0, 1]."""
        if not self.precision_checked:
            self.check_precision(encoded, driving)
        if encoded.pyramid[0].dtype != self.precision:  # it was encoded before the check
            encoded = self.form.encode(encoded.source)
        return self.form.render(encoded, driving)

    def check_precision(self, encoded: FusedEncoded, driving: Keypoints) -> None:
        """Keeps the automatic precision if the first of these frames hardly differs by it."""
        self.precision_checked = True
        source, first = encoded.source[:1], Keypoints(*(part[:1] for part in driving))
        fast = self.form.render(self.form.encode(source), first)
        difference = 255 * (fast - self._as_trained(source, first)).abs().mean().item()
        tried = precision_name(self.precision)
        if difference <= MAX_DIFFERENCE:
            logger.info(
                "Precision: %s; its first frame differs from float32 by %.2f grey levels on "
                "average.",
                *(tried, difference),
            )
            return
        self.precision = torch.float32
        self.form = self._use(torch.float32)
        logger.info(
            "Precision: fp32, since in %s the first frame differs by %.2f grey levels on average "
            "(the limit is %g).",
            *(tried, difference, MAX_DIFFERENCE),
        )

    def render_again(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """In float32, what overflowed in half precision: (B, 3, H, W) in [0, 1]."""
        if not self.overflowed:
            self.overflowed = True
            logger.warning(
                "Some frames overflow in %s: they are rendered in float32, which takes longer.",
                precision_name(self.precision),
            )
        return self._as_trained(encoded.source, driving)

    def _as_trained(self, source: Tensor, driving: Keypoints) -> Tensor:
        """Frames of the network that the form was made from, one at a time to spare memory."""
        assert self.trained is not None
        with torch.inference_mode(False):
            model = self.trained.to(self.device)
        frames = []
        for i, one in enumerate(expand(source, len(driving.positions))):
            keypoints = Keypoints(*(part[i : i + 1] for part in driving))
            frames.append(model.render(model.encode(one[None]), keypoints).prediction)
        return torch.cat(frames)
