"""Write the network of a checkpoint as one small file, to be published or shipped.

    python run.py --mode export --checkpoint runs/lite --output weights/mcnet-lite.safetensors

The file is a checkpoint like any other: ``animate.py``, ``reconstruction.py`` and ``run.py`` take
it as ``--checkpoint``.  It holds the network alone, without a discriminator or the state of the
training, and the configuration without local paths.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import torch
import typer
from torch import Tensor

from config import Config, checkpoint_config, load_config, to_settings
from modules.checkpoints import load_model, read_config, weights_file, write_tensors
from utils.command_line import run
from utils.errors import InputError
from utils.files import require_apart, require_folder
from utils.section import Section

Precision = Literal["fp32", "fp16"]

DATA = Path("data")  # replaces the folders of clips
MAX_ROUNDING_ERROR = 1e-3  # of a tensor in float16: norm of the error over its norm

AnySection = TypeVar("AnySection", bound=Section)

app = typer.Typer(add_completion=False)
logger = logging.getLogger(__name__)


def export(
    checkpoint: Path, output: Path, precision: Precision = "fp16", config: Config | None = None
) -> None:
    """Write the network of ``checkpoint`` and its configuration into the file ``output``.

    ``config`` is for a published checkpoint, which contains none.
    """
    if output.suffix != ".safetensors":
        raise InputError(f"Weights are written as FILE.safetensors: found {output}.")
    require_folder(output.parent)
    if output.is_dir():
        raise InputError(f"{output} is a folder: name a file.")
    require_apart(output, weights_file(checkpoint))
    if config is not None and read_config(checkpoint) is not None:
        raise InputError(f"{checkpoint} has a configuration of its own: leave --config out.")
    config = config or checkpoint_config(checkpoint)
    state = load_model(checkpoint, config.model).state_dict()
    broken = [name for name, tensor in state.items() if not tensor.isfinite().all()]
    if broken:
        raise InputError(f"{checkpoint} holds values that are not finite, in {broken[0]}.")
    if precision == "fp16":
        state = halved(state)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(output, state, to_settings(without_local_paths(config)))
    logger.info(
        f"Written: {output} ({output.stat().st_size / 1e6:.1f} MB; "
        f"{sum(tensor.numel() for tensor in state.values()):,} numbers, "
        f"{share_of_half(state):.1%} of them float16)"
    )


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert tensors to float16 where that is exact enough.

    Vectors stay as they are: biases and statistics of batch norms are few, and the variances of
    one norm can differ by more than the range of float16 (below 6e-5 it rounds to multiples of
    6e-8).  So do counts, and tensors with too large an error.
    """
    return {name: tensor.half() if fits_fp16(tensor) else tensor for name, tensor in state.items()}


def fits_fp16(tensor: Tensor) -> bool:
    """Whether the error of a tensor in float16 is at most ``MAX_ROUNDING_ERROR``."""
    if tensor.dim() < 2 or not tensor.is_floating_point():
        return False
    error = torch.linalg.vector_norm(tensor - tensor.half())  # infinite beyond 65504
    return bool(error <= MAX_ROUNDING_ERROR * torch.linalg.vector_norm(tensor))


def share_of_half(state: Mapping[str, Tensor]) -> float:
    """Compute the share of numbers that are float16."""
    halves = sum(tensor.numel() for tensor in state.values() if tensor.dtype == torch.float16)
    return halves / sum(tensor.numel() for tensor in state.values())


def without_local_paths(config: Config) -> Config:
    """Remove the paths and addresses of the machine that a configuration was used on."""
    data = config.data.model_copy(update={"root": DATA})
    vgg = config.loss.vgg if config.loss.vgg == "random" else "pretrained"
    loss = config.loss.model_copy(update={"vgg": vgg})
    return without_paths(config.model_copy(update={"data": data, "loss": loss}))


def without_paths(section: AnySection) -> AnySection:
    """Replace every path in a section by its default, or by ``DATA`` where it has none."""
    changes: dict[str, object] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            changes[name] = without_paths(value)
        elif isinstance(value, Path):
            changes[name] = DATA if field.is_required() else field.get_default()
    return section.model_copy(update=changes)


@app.command()
def command(
    *,
    checkpoint: Annotated[
        Path, typer.Option(help="Our own (a run or file) or a published .pth.tar.")
    ],
    output: Annotated[Path, typer.Option(help="FILE.safetensors to write.")],
    precision: Annotated[
        Precision, typer.Option(help="Precision of the numbers in the file.")
    ] = "fp16",
    config: Annotated[
        str | None,
        typer.Option(help="Configuration of a published checkpoint, for example vox.yaml."),
    ] = None,
) -> None:
    """Write the network of a checkpoint as one file."""
    export(checkpoint, output, precision, load_config(config) if config else None)


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
