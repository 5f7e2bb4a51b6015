"""Inference by the fused network, in a precision that is checked.

Half precision is several times as fast as float32, and with most networks nobody sees a difference.
An automatic choice is therefore checked on the first frame, and frames that overflow are rendered
again in float32: both by the network as it was trained.  In bf16 on a CPU the detectors are checked
on the first picture, and stay in float32 where keypoints would move.
"""

import logging
from threading import Lock

import torch
from torch import Tensor

from inference.fused_network import FusedEncoded, FusedMCNet, fuse
from modules.geometry import Keypoints
from modules.mcnet import MCNet, expand
from utils.device import flush_denormals, pick_precision, precision_name

# Grey levels by which the first frame may differ on average: trained networks stay well below half
# of one, and failures are far above.
MAX_DIFFERENCE = 1.0
# Pixels of 256 by which bf16 may move the keypoints or the landmarks of a picture on average: with
# trained networks it is 0.08 and 0.04, and at most 0.2.
MAX_MOVE = 0.3

logger = logging.getLogger(__name__)


class Inference:
    """Encode a source once, detect the keypoints of driving frames, and render them."""

    def __init__(self, model: MCNet, device: torch.device, precision: str = "auto") -> None:
        """``precision`` is fp32, bf16, fp16 or "auto": bf16 where the hardware multiplies it."""
        self.device = device
        flush_denormals()
        if device.type == "cuda":  # keypoints need full float32; sizes seldom change
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = True
        self.precision = pick_precision(precision, device)
        self.precision_checked = precision != "auto" or self.precision == torch.float32
        if self.precision_checked:
            logger.info("Precision: %s.", precision_name(self.precision))
        self.detectors_checked = device.type != "cpu" or self.precision != torch.bfloat16
        self.checking = Lock()
        self.trained: MCNet | None = model.eval()  # kept while float32 may be needed
        self.fused = self._fuse(self.precision)
        self.overflowed = False

    def _fuse(self, precision: torch.dtype) -> FusedMCNet:
        """Fuse the network on the CPU, since not all devices have float64."""
        assert self.trained is not None
        with torch.inference_mode(False):  # weights outlive the mode
            fused = fuse(self.trained.cpu(), precision).to(self.device)
        if precision == torch.float32:
            self.trained = None
        return fused

    def detect(self, image: Tensor) -> Keypoints:
        """Detect the keypoints of (B, 3, H, W) in [0, 1]."""
        self.check_detectors(image)
        return self.fused.detect(image)

    def encode(self, source: Tensor) -> FusedEncoded:
        """Encode a source (B, 3, H, W) in [0, 1]: all that a driving frame does not change."""
        self.check_detectors(source)
        return self.fused.encode(source)

    def render(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """Move the source to the driving keypoints: (B, 3, H, W) in [0, 1]."""
        with self.checking:  # by the first of several threads
            if not self.precision_checked:
                self.check_precision(encoded, driving)
        if encoded.pyramid[0].dtype != self.precision:  # it was encoded before the check
            encoded = self.fused.encode(encoded.source)
        return self.fused.render(encoded, driving)

    def check_detectors(self, image: Tensor) -> None:
        """Let the detectors compute in bf16 if the keypoints of the first picture stay."""
        with self.checking:
            if self.detectors_checked:
                return
            self.detectors_checked = True
            with torch.inference_mode(False), torch.no_grad():  # weights outlive the mode
                moved = 128 * self.fused.detect_in_precision(image[:1].clone(), MAX_MOVE / 128)
            logger.debug("In bf16 keypoints move by %.2f pixels of 256 on average.", moved)

    def check_precision(self, encoded: FusedEncoded, driving: Keypoints) -> None:
        """Keep the automatic precision if the first frame differs little from float32."""
        self.precision_checked = True
        source, first = encoded.source[:1], Keypoints(*(part[:1] for part in driving))
        frame = self.fused.render(self.fused.encode(source), first)
        difference = 255 * (frame - self._as_trained(source, first)).abs().mean().item()
        tried = precision_name(self.precision)
        if difference <= MAX_DIFFERENCE:
            logger.info(
                "Precision: %s; its first frame differs from float32 by %.2f grey levels on "
                "average.",
                tried,
                difference,
            )
            return
        self.precision = torch.float32
        self.fused = self._fuse(torch.float32)
        logger.info(
            "Precision: fp32, since in %s the first frame differs by %.2f grey levels on average "
            "(the limit is %g).",
            tried,
            difference,
            MAX_DIFFERENCE,
        )

    def render_again(self, encoded: FusedEncoded, driving: Keypoints) -> Tensor:
        """Render frames in float32 that overflowed in half precision: (B, 3, H, W) in [0, 1]."""
        if not self.overflowed:
            self.overflowed = True
            logger.warning(
                "Some frames overflow in %s: they are rendered in float32, which takes longer.",
                precision_name(self.precision),
            )
        return self._as_trained(encoded.source, driving)

    def _as_trained(self, source: Tensor, driving: Keypoints) -> Tensor:
        """Render frames by the network as it was trained, one at a time to save memory."""
        assert self.trained is not None
        with torch.inference_mode(False):
            model = self.trained.to(self.device)
        frames = []
        for i, one in enumerate(expand(source, len(driving.positions))):
            keypoints = Keypoints(*(part[i : i + 1] for part in driving))
            frames.append(model.render(model.encode(one[None]), keypoints).prediction)
        return torch.cat(frames)
