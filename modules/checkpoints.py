"""Checkpoints: the weights of the networks, and the configuration of their run.

A checkpoint is a folder.  ``weights.safetensors`` holds the network and, in its metadata, the
resolved configuration of the run; beside it are the state of the training and, in adversarial
training, the discriminator.  The file alone is a checkpoint too, under any name.  Published
checkpoints are read as well (``modules.published_weights``).
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from modules.mcnet import MCNet, ModelConfig
from modules.published_weights import (
    DETECTOR_RULES,
    DISCRIMINATOR_RULES,
    GENERATOR_RULES,
    MEMORY,
    State,
    read_published,
    translate,
)
from utils.errors import InputError
from utils.files import write_atomically
from utils.renamed_settings import with_current_names
from utils.wording import counted

WEIGHTS = "weights.safetensors"
DISCRIMINATOR = "discriminator.safetensors"
BEST = "best"  # the checkpoint of a run with the best validation
LANDMARK_DETECTOR = "landmark_detector."  # beginning of the names of its tensors


class Weights(NamedTuple):
    """The network in a checkpoint, under our names, and its configuration."""

    model: State
    config: dict[str, Any] | None  # the resolved configuration; published checkpoints have none


class DiscriminatorWeights(NamedTuple):
    """The discriminator of a checkpoint, for adversarial training to go on with."""

    state: State  # under our names
    path: Path  # of the file that holds it


def load_model(path: str | Path, config: ModelConfig | None = None) -> MCNet:
    """Load the network of a checkpoint, in eval mode on the CPU.

    Without ``config`` the one in the checkpoint is used, or for a published checkpoint the
    published model with as many keypoints as the file has.  Raises InputError for a file that is
    no checkpoint, and for one that does not fit ``config``.
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
    """Validate the section ``model`` of a checkpoint's configuration."""
    try:
        return ModelConfig.model_validate_json(json.dumps(config["model"]))
    except (ValidationError, KeyError) as error:
        raise InputError(
            f"The configuration in {path} does not describe a network of this version of the "
            f"project: {' '.join(str(error).split())}."
        ) from error


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load exactly the tensors of a network, or raise an InputError that names the first misfit.

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


def fill_missing_tensors(state: State, model: MCNet) -> State:
    """Fill the tensors of a smaller network up with those of ``model`` where it has more.

    A network grows by a landmark detector and by the spline motion of its landmarks, whose channels
    come last.  A memory with another attention, or read by other levels, starts anew: what it holds
    was learned for another reader.  All other tensors stay as they are.
    """
    result, wanted = dict(state), model.state_dict()
    if not same_memory(state, wanted):
        result = {name: tensor for name, tensor in state.items() if not name.startswith(MEMORY)}
        result |= {name: wanted[name] for name in memory_names(wanted)}
    for name, own in wanted.items():
        if name.startswith(LANDMARK_DETECTOR):
            result.setdefault(name, own)
        elif name.startswith("dense_motion.") and (tensor := state.get(name)) is not None:
            corner = tuple(map(slice, tensor.shape))
            if tensor.shape != own.shape and own[corner].shape == tensor.shape:
                result[name] = own.clone()
                result[name][corner] = tensor
    return result


def same_memory(state: State, other: State) -> bool:
    """Whether two networks have a memory of one form: equal attention, read by equal levels."""
    return memory_names(state) == memory_names(other)


def memory_names(state: State) -> set[str]:
    """List the names of the memory's tensors."""
    return {name for name in state if name.startswith(MEMORY)}


def read_weights(path: str | Path) -> Weights:
    """Read the tensors of our own or a published checkpoint, under our names."""
    path = weights_file(path)
    if is_published(path):
        networks = read_published(path)
        model = translate(networks["generator"], GENERATOR_RULES)
        return Weights(model | translate(networks["kp_detector"], DETECTOR_RULES), None)
    with opened(path) as file:
        return Weights(tensors_in(file), config_in(file, path))


def read_discriminator(path: str | Path) -> DiscriminatorWeights | None:
    """Read the discriminator of our own or a published checkpoint; None where it has none."""
    path = weights_file(path)
    if is_published(path):
        state = read_published(path).get("discriminator")
        state = state and translate(state, DISCRIMINATOR_RULES)
    else:
        path = path.with_name(DISCRIMINATOR)
        state = None
        if path.is_file():
            with opened(path) as file:
                state = current_discriminator(tensors_in(file))
    return None if state is None else DiscriminatorWeights(state, path)


def current_discriminator(state: State) -> State:
    """Give the tensors of a discriminator of an earlier version their names of today."""
    old = "realness."
    return {
        f"logits.{name.removeprefix(old)}" if name.startswith(old) else name: tensor
        for name, tensor in state.items()
    }


def read_config(path: str | Path) -> dict[str, Any] | None:
    """Read the resolved configuration inside a checkpoint; None for a published one."""
    path = weights_file(path)
    if is_published(path):
        return None
    with opened(path) as file:
        return config_in(file, path)


def is_published(path: Path) -> bool:
    """Whether a file of weights is a published one, by its name."""
    return path.suffix != ".safetensors"


def weights_file(path: str | Path) -> Path:
    """Find the weights that ``path`` names: a file, a checkpoint folder, or a run.

    Those of a run are its best, or its newest before the first validation.
    """
    path = Path(path)
    newest = sorted(path.glob(f"checkpoints/step-*/{WEIGHTS}"), reverse=True)
    for candidate in [path, path / WEIGHTS, path / "checkpoints" / BEST / WEIGHTS, *newest]:
        if candidate.is_file():
            return candidate
    raise InputError(f"There is no checkpoint {path}.")


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file, or raise an InputError that names it."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}.") from error


def tensors_in(file: Any) -> State:
    """Read all tensors of an open safetensors file."""
    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def config_in(file: Any, path: Path) -> dict[str, Any]:
    """Read the configuration in the metadata of an open safetensors file."""
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


def save_weights(path: str | Path, model: MCNet, config: Mapping[str, Any]) -> None:
    """Write the weights of a network, with the resolved configuration of its run, to one file."""
    write_tensors(path, model.state_dict(), config)


def write_tensors(
    path: str | Path, state: Mapping[str, Tensor], config: Mapping[str, Any] | None = None
) -> None:
    """Write a safetensors file, with a configuration in its metadata, completely or not at all.

    Raises OutputError where it cannot be written.
    """
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    metadata = None if config is None else {"config": json.dumps(config)}
    write_atomically(Path(path), save(tensors, metadata))
