"""Write the network of a checkpoint in a form to be published, shipped or embedded.

    python run.py --mode export --checkpoint runs/lite --output weights/mcnet-lite.safetensors
    python run.py --mode export --format onnx --checkpoint runs/lite --output graphs

The first writes a checkpoint like any other, as one small file: ``animate.py``,
``reconstruction.py`` and ``run.py`` take it as ``--checkpoint``.  The second writes a folder of
graphs for other runtimes, without PyTorch (``docs/export.md``).  Both hold the network alone,
without a discriminator or the state of the training, and the configuration without local paths.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import torch
import typer
from torch import Tensor

from animation.motion_template import fingerprint
from config import Config, checkpoint_config, load_config, to_settings
from faces.crop import PUBLISHED
from modules.checkpoints import load_model, read_config, weights_file, write_tensors
from modules.mcnet import MCNet
from utils.command_line import run
from utils.device import flush_denormals
from utils.errors import InputError
from utils.files import atomic_folder, require_apart, require_folder
from utils.section import Section

if TYPE_CHECKING:
    from onnx import ModelProto

Format = Literal["weights", "onnx"]
Precision = Literal["fp32", "fp16"]

PRECISIONS: dict[Format, Precision] = {"weights": "fp16", "onnx": "fp32"}  # unless one is given
DATA = Path("data")  # replaces the folders of clips
MAX_ROUNDING_ERROR = 1e-3  # of a tensor in float16: norm of the error over its norm

# Largest difference of exported graphs from the network.  With float16 weights three networks
# differed by up to 0.08, in single pixels at edges: keypoints moved by 0.06 pixels.
MAX_DIFFERENCES: dict[Precision, float] = {"fp32": 1e-4, "fp16": 0.2}

AnySection = TypeVar("AnySection", bound=Section)

app = typer.Typer(add_completion=False)
logger = logging.getLogger(__name__)


def export(
    checkpoint: Path,
    output: Path,
    *,
    precision: Precision = "fp16",
    config: str | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """Write the network of ``checkpoint`` and its configuration into the file ``output``.

    ``config`` names that of a published checkpoint, which contains none; ``overrides`` change it.
    """
    if output.suffix != ".safetensors":
        raise InputError(f"Weights are written as FILE.safetensors: found {output}.")
    require_folder(output.parent)
    if output.is_dir():
        raise InputError(f"{output} is a folder: name a file.")
    require_apart(output, weights_file(checkpoint))
    model, settings = load(checkpoint, config, overrides)
    state: Mapping[str, Tensor] = model.state_dict()
    if precision == "fp16":
        state = halved(state)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(output, state, to_settings(without_local_paths(settings)))
    logger.info(
        f"Written: {output} ({output.stat().st_size / 1e6:.1f} MB; "
        f"{sum(tensor.numel() for tensor in state.values()):,} numbers, "
        f"{share_of_half(state):.1%} of them float16)"
    )


def load(checkpoint: Path, config: str | None, overrides: Sequence[str]) -> tuple[MCNet, Config]:
    """Load the network of a checkpoint and its configuration, ``config`` for a published one.

    Raises InputError where a weight is not finite.
    """
    if config is not None and read_config(checkpoint) is not None:
        raise InputError(f"{checkpoint} has a configuration of its own: leave --config out.")
    if config is None:
        settings = checkpoint_config(checkpoint, overrides)
    else:
        settings = load_config(config, overrides)
    model = load_model(checkpoint, settings.model)
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(f"{checkpoint} holds values that are not finite, in {name}.")
    return model, settings


def export_onnx(
    checkpoint: Path,
    output: Path,
    *,
    precision: Precision = "fp32",
    config: str | None = None,
    overrides: Sequence[str] = (),
    size: int | None = None,
) -> None:
    """Write the network of ``checkpoint`` as graphs for frames of one size into a new folder.

    Nothing is written unless they give what the network gives.  ``config`` and ``overrides`` are
    those of ``export``, ``size`` the side of frames in pixels; without it that of the training.
    """
    from animation.graph_check import Graphs, Reference
    from inference.onnx_graphs import export_graphs, halve_weights, require_onnx

    require_onnx()
    require_folder(output)
    if output.is_dir() and any(output.iterdir()):
        raise InputError(f"{output} holds files already: name a new folder.")
    published = read_config(checkpoint) is None
    model, settings = load(checkpoint, config, overrides)
    face_crop = PUBLISHED if published else settings.data.face_crop
    frame_size = settings.data.frame_size if size is None else (size, size)
    flush_denormals()
    graphs = export_graphs(model, frame_size)
    reference = Reference(model, frame_size, face_crop)
    report(reference.largest_differences(Graphs(graphs)), "fp32")
    if precision == "fp16":
        for graph in graphs.values():
            halve_weights(graph, fits_fp16)
        report(reference.largest_differences(Graphs(graphs)), "fp16")
    properties = {
        "config": json.dumps(to_settings(without_local_paths(settings))),
        "face_crop": json.dumps(face_crop and face_crop.model_dump()),
        "detector": fingerprint(model.detector, model.landmark_detector),
    }
    write_graphs(output, graphs, properties)


def report(differences: Mapping[str, float], precision: Precision) -> None:
    """Log how far graphs are from the network.  Raises InputError where it is too far."""
    bound = MAX_DIFFERENCES[precision]
    found = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    if not all(value <= bound for value in differences.values()):
        raise InputError(
            f"The exported graphs are not the network: with {precision} weights they differ by "
            f"{found}, and {bound:g} is allowed.  Nothing was written: try other versions of the "
            "packages in requirements-export.txt, unless the network is untrained, which can "
            "magnify rounding errors."
        )
    logger.info(
        f"Largest differences from PyTorch, {precision} weights: {found} (allowed: {bound:g})."
    )


def write_graphs(
    folder: Path, graphs: Mapping[str, "ModelProto"], properties: dict[str, str]
) -> None:
    """Write graphs with properties in their metadata into a folder, all of them or none."""
    from onnx import helper

    with atomic_folder(folder) as temporary:
        for name, graph in graphs.items():
            helper.set_model_props(graph, properties)
            (temporary / f"{name}.onnx").write_bytes(graph.SerializeToString())
    sizes = ", ".join(
        f"{name}.onnx {graph.ByteSize() / 1e6:.1f} MB" for name, graph in graphs.items()
    )
    logger.info(f"Written: {folder} ({sizes})")


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
    output: Annotated[
        Path, typer.Option(help="FILE.safetensors to write; with --format onnx a new folder.")
    ],
    format: Annotated[
        Format,
        typer.Option(
            help="weights: one file that all commands take as --checkpoint; onnx: graphs for "
            "other runtimes, see docs/export.md."
        ),
    ] = "weights",
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="Precision of the numbers in the files; if left out, fp16 for weights and fp32 "
            "for onnx."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="With --format onnx, side of the frames; as trained if left out."),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Configuration of a published checkpoint, for example vox.yaml."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="For example model.expression_gain.mouth=1.3; repeatable."),
    ] = None,
) -> None:
    """Write the network of a checkpoint as one file, or as graphs for other runtimes."""
    precision, changes = precision or PRECISIONS[format], overrides or []
    if format == "onnx":
        export_onnx(
            checkpoint, output, precision=precision, config=config, overrides=changes, size=size
        )
    elif size is not None:
        raise InputError("--size is for --format onnx: weights serve any size.")
    else:
        export(checkpoint, output, precision=precision, config=config, overrides=changes)


def main(argv: Sequence[str] | None = None) -> int:
    return run(app, argv)


if __name__ == "__main__":
    sys.exit(main())
