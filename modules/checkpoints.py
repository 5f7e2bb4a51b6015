"""Weights in and out: our own files, and the published checkpoints.

Our own checkpoint is a folder: ``weights.safetensors`` holds the network and, in its metadata, the
resolved configuration of the run; beside it the trainer keeps its state and, in adversarial
training, the discriminator.  The file alone is a checkpoint too, under any name, and a
discriminator beside it is its.  A published checkpoint is one pickled file whose names are
translated here, once.  Nothing in either can run code.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from modules.mcnet import MCNet, ModelConfig
from utils.errors import InputError
from utils.files import write_atomically
from utils.wording import counted

WEIGHTS = "weights.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
BEST = "best"  # the checkpoint of a run whose weights validated best

State = dict[str, Tensor]

# Settings that had another name, in the configurations of earlier versions.
RENAMED_SETTINGS = {
    "train.recorded": "train.cuda_graph",
    "train.checkpointing": "train.activation_checkpointing",
    "train.average_decay": "train.ema_decay",
    "train.clip": "train.max_grad_norm",
    "data.geometry": "data.face_crop",
    "data.portraits": "data.stills",
    "data.decoded": "data.frame_cache",
}

logger = logging.getLogger(__name__)

# Published name -> ours.  The three memory levels are named there by their size at 256 x 256.
LEVELS = {"128": "0", "64": "1", "32": "2"}
HOURGLASS = [
    (r"encoder\.down_blocks\.(\d+)\.", r"hourglass.down.\1."),
    (r"decoder\.up_blocks\.(\d+)\.", r"hourglass.up.\1."),
]
MEMORY = "generator.memory."
Rule = tuple[str, str | Callable[[re.Match[str]], str]]
GENERATOR_RULES: list[Rule] = [
    *(
        (rf"dense_motion_network\.hourglass\.{old}", f"dense_motion.{new}")
        for old, new in HOURGLASS
    ),
    (r"dense_motion_network\.(mask|occlusion)\.", r"dense_motion.\1."),
    (r"first\.", "generator.encoder.first."),
    (r"down_blocks\.(\d+)\.", r"generator.encoder.down.\1."),
    (r"up_blocks\.(\d+)\.", r"generator.decoder.up.\1."),
    (
        r"resblock\.(\d+)\.",
        lambda m: f"generator.decoder.residual.{int(m[1]) // 2}.{int(m[1]) % 2}.",
    ),
    (r"final\.", "generator.decoder.final."),
    (r"mbUnit\.mb$", MEMORY + "meta_memory.bank"),
    (r"mbUnit\.feat_forward_proj_(\d+)\.", lambda m: f"{MEMORY}project.{LEVELS[m[1]]}."),
    (r"mbUnit\.conv_(\d+)\.", lambda m: f"{MEMORY}restore.{LEVELS[m[1]]}.0."),
    (r"mbUnit\.norm_(\d+)\.", lambda m: f"{MEMORY}restore.{LEVELS[m[1]]}.1."),
    (r"mbUnit\.query_conv\.", MEMORY + "query."),
    (r"mbUnit\.diff_conv\.", MEMORY + "difference."),
    (r"mbUnit\.style_route\.", MEMORY + "identity.mlp."),
    (r"mbUnit\.conv_kv\.attention\.fc1\.", MEMORY + "meta_memory.key_value_conv.mixture.0."),
    (r"mbUnit\.conv_kv\.attention\.fc2\.", MEMORY + "meta_memory.key_value_conv.mixture.2."),
    (r"mbUnit\.conv_kv\.", MEMORY + "meta_memory.key_value_conv."),
    (r"mbUnit\.styleconv\.weight$", MEMORY + "meta_memory.noise_strength"),
    (r"mbUnit\.styleconv\.activate\.bias$", MEMORY + "meta_memory.bias"),
    (
        r"mbUnit\.styleconv\.modulated_conv\.modulation\.",
        MEMORY + "meta_memory.modulated_conv.style_",
    ),
    (r"mbUnit\.styleconv\.modulated_conv\.", MEMORY + "meta_memory.modulated_conv."),
]
DETECTOR_RULES: list[Rule] = [
    *((rf"predictor\.{old}", f"detector.{new}") for old, new in HOURGLASS),
    (r"kp\.", "detector.heatmaps."),
    (r"jacobian\.", "detector.jacobians."),
]
DISCRIMINATOR_RULES: list[Rule] = [
    (r"discs\.1\.down_blocks\.(\d+)\.conv\.", r"convs.\1."),
    (r"discs\.1\.down_blocks\.(\d+)\.norm\.", r"norms.\1."),
    (r"discs\.1\.conv\.", "logits."),
]
WRAPPER = re.compile(r"(?<![^.])(module|_orig_mod)\.")  # of several GPUs, or compiled: of any part
CONSTANTS = ("down.weight", "dense_motion_network.down.weight")  # the anti-aliasing Gaussian

# What NumPy's numbers are made of in a pickle, by its names of versions 1 and 2: losses and counts
# beside the weights.  Of no other types, since a state that is made up can break those.
NUMPY_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_NUMBERS: list[Any] = [
    (NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"] + "?"},
]


class Weights(NamedTuple):
    """What a checkpoint holds, under our names."""

    model: State
    config: dict[str, Any] | None  # the resolved configuration; published checkpoints have none


class DiscriminatorWeights(NamedTuple):
    """The discriminator of a checkpoint, for adversarial training to go on with."""

    state: State  # under our names
    path: Path  # of the file that holds it


def load_model(path: str | Path, config: ModelConfig | None = None) -> MCNet:
    """The network of a checkpoint, in eval mode on the CPU.

    Without ``config`` the one in the checkpoint is used, or for a published checkpoint the
    published model with as many keypoints as the file has.  Raises InputError for a file that is
    none, and for one that does not fit ``config``.
    """
    weights = read_weights(path)
    num_kp = len(weights.model.get("detector.heatmaps.bias", ()))
    if config is None and weights.config is not None:
        config = model_config(weights.config, path)
    config = config or ModelConfig(num_kp=num_kp or ModelConfig().num_kp)
    if num_kp and num_kp != config.num_kp:
        raise InputError(
            f"The checkpoint {path} has {counted(num_kp, 'keypoint')} and the config "
            f"{config.num_kp}: set model.num_kp={num_kp}."
        )
    model = MCNet(config)
    load_strictly(model, weights.model, path)
    return model.eval()


def model_config(config: Mapping[str, Any], path: str | Path) -> ModelConfig:
    """The section ``model`` of a checkpoint's configuration."""
    try:
        return ModelConfig.model_validate_json(json.dumps(config["model"]))
    except (ValidationError, KeyError) as error:
        raise InputError(
            f"The configuration in {path} does not describe a network of this version of the "
            f"project: {' '.join(str(error).split())}."
        ) from error


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Fill a network with exactly its tensors, or raise an InputError that names the first misfit.

    Sides of length 1 may differ: the published file writes a linear layer as a 1 x 1 convolution.
    """
    own = network.state_dict()
    misfits = [f"{name} is missing" for name in own.keys() - state.keys()]
    misfits += [f"{name} is unknown" for name in state.keys() - own.keys()]
    for name in own.keys() & state.keys():
        if own[name].squeeze().shape != state[name].squeeze().shape:
            found, expected = tuple(state[name].shape), tuple(own[name].shape)
            misfits.append(f"{name} has shape {found}, not {expected}")
    if misfits:
        raise InputError(
            f"The checkpoint {path} does not fit the network of the config: {min(misfits)}"
            + (f" (and {counted(len(misfits) - 1, 'more tensor')})." if misfits[1:] else ".")
        )
    network.load_state_dict({name: state[name].reshape(own[name].shape) for name in own})


def grown(state: State, model: MCNet) -> State:
    """The tensors of a smaller network as far as they go, and of ``model`` what it has besides.

    A network grows by a landmark detector and by the spline motion of its landmarks, whose channels
    come last.  A memory with another attention, or read by other levels, begins afresh: what it
    holds was learned for another reader.  Anything else stays as it is.
    """
    result, wanted = dict(state), model.state_dict()
    if memory_names(state) != memory_names(wanted):
        result = {name: tensor for name, tensor in state.items() if not name.startswith(MEMORY)}
        result |= {name: wanted[name] for name in memory_names(wanted)}
        logger.info("The memory has another form than in these weights: it begins afresh.")
    for name, own in wanted.items():
        if name.startswith("landmark_detector."):
            result.setdefault(name, own)
        elif name.startswith("dense_motion.") and (tensor := state.get(name)) is not None:
            corner = tuple(map(slice, tensor.shape))
            if tensor.shape != own.shape and own[corner].shape == tensor.shape:
                result[name] = own.clone()
                result[name][corner] = tensor
    return result


def memory_names(state: State) -> set[str]:
    return {name for name in state if name.startswith(MEMORY)}


def read_weights(path: str | Path) -> Weights:
    """The tensors of a checkpoint of ours or a published one, under our names."""
    path = weights_file(path)
    if path.suffix != ".safetensors":
        networks = read_published(path)
        model = translate(networks["generator"], GENERATOR_RULES)
        return Weights(model | translate(networks["kp_detector"], DETECTOR_RULES), None)
    with opened(path) as file:
        return Weights(tensors_in(file), config_in(file, path))


def read_discriminator(path: str | Path) -> DiscriminatorWeights | None:
    """The discriminator of a checkpoint of ours or a published one; None where it has none."""
    path = weights_file(path)
    if path.suffix != ".safetensors":
        state = read_published(path).get("discriminator")
        return (
            None
            if state is None
            else DiscriminatorWeights(translate(state, DISCRIMINATOR_RULES), path)
        )
    beside = path.with_name(DISCRIMINATOR)
    if not beside.is_file():
        return None
    with opened(beside) as file:
        return DiscriminatorWeights(current_discriminator(tensors_in(file)), beside)


def current_discriminator(state: State) -> State:
    """Return a discriminator's tensors, in which those of earlier versions have today's names."""
    return {re.sub(r"^realness\.", "logits.", name): tensor for name, tensor in state.items()}


def read_config(path: str | Path) -> dict[str, Any] | None:
    """The resolved configuration inside a checkpoint; None for a published one."""
    path = weights_file(path)
    if path.suffix != ".safetensors":
        return None
    with opened(path) as file:
        return config_in(file, path)


def weights_file(path: str | Path) -> Path:
    """The file that ``path`` names: itself, that of a checkpoint folder, or the best of a run."""
    path = Path(path)
    candidates = [path, path / WEIGHTS, path / "checkpoints" / BEST / WEIGHTS]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InputError(f"There is no checkpoint {path}.")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}.") from error


def tensors_in(file: Any) -> State:
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def config_in(file: Any, path: Path) -> dict[str, Any]:
    metadata = file.metadata() or {}
    if "config" not in metadata:
        raise InputError(f"{path} carries no configuration: it was not written by this project.")
    try:
        config = json.loads(metadata["config"])
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{path} carries a damaged configuration: get the file again.")
    return with_current_names(config)


def with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings, nested by section, in which those of earlier versions have today's names."""
    result = {**settings}
    for old, new in RENAMED_SETTINGS.items():
        section, _, name = old.partition(".")
        if isinstance(result.get(section), Mapping) and name in result[section]:
            values = {**result[section]}
            values.setdefault(new.partition(".")[2], values.pop(name))
            result[section] = values
    return result


def read_published(path: Path) -> dict[str, State]:
    """The networks in a published checkpoint, under its names."""
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
    """Published tensors under our names; what no rule knows keeps its name and is then refused."""
    names = {name: WRAPPER.sub("", name) for name in state}
    return {
        our_name(published, rules): state[name]
        for name, published in names.items()
        if published not in CONSTANTS
    }


def our_name(published: str, rules: list[Rule]) -> str:
    for pattern, replacement in rules:
        ours, found = re.subn("^" + pattern, replacement, published)
        if found:
            return ours
    return published


def save_weights(path: str | Path, model: MCNet, config: Mapping[str, Any]) -> None:
    """Write the weights of a network, with the resolved configuration of its run, as one file."""
    write_tensors(path, model.state_dict(), config)


def write_tensors(
    path: str | Path, state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> None:
    """Write a safetensors file, with a configuration in its metadata; all of it or nothing.

    Raises OutputError where it cannot be written.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    metadata = None if config is None else {"config": json.dumps(config)}
    write_atomically(Path(path), save(tensors, metadata))
