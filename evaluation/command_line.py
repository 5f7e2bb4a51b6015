"""Options of the commands that measure, each written once as the field of a dataclass."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from utils.command_line import DeviceOption

SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap intervals.")]


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Options of every command that measures frames."""

    metrics: Annotated[
        str, typer.Option(help="all, or names with commas between them: l1,psnr,lpips_vgg.")
    ] = "all"
    openface: Annotated[
        Path | None, typer.Option(help="Weights of OpenFace nn4.small2, for AED.")
    ] = None
    arcface: Annotated[Path | None, typer.Option(help="An ArcFace network as ONNX, for CSIM.")] = (
        None
    )
    landmarks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of landmarks of the real frames, as python -m datasets landmarks makes "
            "them, for expressions; without it a detector finds them."
        ),
    ] = None
    device: DeviceOption = "auto"
    batch_size: Annotated[int, typer.Option(min=1, help="Frames in a batch.")] = 8
    seed: SeedOption = 0
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Stop where files are missing; exit 1 where anything is not measured.",
        ),
    ] = False
