"""Published checkpoints: one pickled file, whose tensors get our names.

Nothing in the file can run code.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.errors import InputError

State = dict[str, Tensor]
Rule = tuple[str, str | Callable[[re.Match[str]], str]]  # beginning of a published name -> ours

MEMORY = "generator.memory."
BANK = MEMORY + "meta_memory."
LEVELS = {128: 0, 64: 1, 32: 2}  # the published levels of the memory, by their size at 256 x 256

GENERATOR_RULES: list[Rule] = [
    (r"dense_motion_network\.hourglass\.encoder\.down_blocks\.", "dense_motion.hourglass.down."),
    (r"dense_motion_network\.hourglass\.decoder\.up_blocks\.", "dense_motion.hourglass.up."),
    (r"dense_motion_network\.mask\.", "dense_motion.mask."),
    (r"dense_motion_network\.occlusion\.", "dense_motion.occlusion."),
    (r"first\.", "generator.encoder.first."),
    (r"down_blocks\.", "generator.encoder.down."),
    (r"resblock\.(\d+)\.", lambda m: "generator.decoder.residual.{}.{}.".format(*halves(m[1]))),
    (r"up_blocks\.", "generator.decoder.up."),
    (r"final\.", "generator.decoder.final."),
    *((rf"mbUnit\.feat_forward_proj_{n}\.", f"{MEMORY}project.{i}.") for n, i in LEVELS.items()),
    *((rf"mbUnit\.conv_{n}\.", f"{MEMORY}restore.{i}.0.") for n, i in LEVELS.items()),
    *((rf"mbUnit\.norm_{n}\.", f"{MEMORY}restore.{i}.1.") for n, i in LEVELS.items()),
    (r"mbUnit\.query_conv\.", MEMORY + "query."),
    (r"mbUnit\.diff_conv\.", MEMORY + "difference."),
    (r"mbUnit\.style_route\.", MEMORY + "identity.mlp."),
    (r"mbUnit\.mb$", BANK + "bank"),
    (r"mbUnit\.conv_kv\.attention\.fc1\.", BANK + "key_value_conv.mixture.0."),
    (r"mbUnit\.conv_kv\.attention\.fc2\.", BANK + "key_value_conv.mixture.2."),
    (r"mbUnit\.conv_kv\.", BANK + "key_value_conv."),
    (r"mbUnit\.styleconv\.weight$", BANK + "noise_strength"),
    (r"mbUnit\.styleconv\.activate\.bias$", BANK + "bias"),
    (r"mbUnit\.styleconv\.modulated_conv\.modulation\.", BANK + "modulated_conv.style_"),
    (r"mbUnit\.styleconv\.modulated_conv\.", BANK + "modulated_conv."),
]
DETECTOR_RULES: list[Rule] = [
    (r"predictor\.encoder\.down_blocks\.", "detector.hourglass.down."),
    (r"predictor\.decoder\.up_blocks\.", "detector.hourglass.up."),
    (r"kp\.", "detector.heatmaps."),
    (r"jacobian\.", "detector.jacobians."),
]
DISCRIMINATOR_RULES: list[Rule] = [
    (r"discs\.1\.down_blocks\.(\d+)\.conv\.", r"convs.\1."),
    (r"discs\.1\.down_blocks\.(\d+)\.norm\.", r"norms.\1."),
    (r"discs\.1\.conv\.", "logits."),
]
WRAPPER = re.compile(r"(?<![^.])(module|_orig_mod)\.")  # left anywhere by DataParallel or compile
CONSTANTS = ("down.weight", "dense_motion_network.down.weight")  # the anti-aliasing Gaussian

# Losses and counts beside the weights are NumPy numbers: their constructor, under its names of
# NumPy 1 and 2, and their types.  Other types are refused, since a forged state can break those.
NUMPY_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_NUMBERS: list[Any] = [
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"},
]


def read_published(path: Path) -> dict[str, State]:
    """Read the networks in a published checkpoint, under its names."""
    try:
        with torch.serialization.safe_globals(NUMPY_NUMBERS):
            file = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way
        raise InputError(
            f"{path} is not a file of PyTorch weights that is safe to load."
        ) from error
    if not isinstance(file, dict) or not {"generator", "kp_detector"} <= file.keys():
        raise InputError(
            f"{path} is not a checkpoint of this network: it has no generator and kp_detector."
        )
    return file


def translate(state: Mapping[str, Tensor], rules: list[Rule]) -> State:
    """Give published tensors our names; a name that no rule knows stays, and is then refused."""
    names = {name: WRAPPER.sub("", name) for name in state}
    return {
        our_name(published, rules): state[name]
        for name, published in names.items()
        if published not in CONSTANTS
    }


def our_name(published: str, rules: list[Rule]) -> str:
    """Translate a published name by the first rule that fits."""
    for pattern, replacement in rules:
        ours, found = re.subn("^" + pattern, replacement, published)
        if found:
            return ours
    return published


def halves(number: str) -> tuple[int, int]:
    """Split the number of a residual block: two of them make a stage of the decoder."""
    return divmod(int(number), 2)
