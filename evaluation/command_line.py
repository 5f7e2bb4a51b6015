"""Options of the commands that measure, each written once as the field of a dataclass."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from evaluation.metrics.registry import parse_metrics


def known_metrics(text: str) -> str:
    """Check the names of metrics before any work, as the callback of their option."""
    parse_metrics(text)
    return text


DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap intervals.")]


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """Options of every command that measures frames."""

    metrics: Annotated[
        str,
        typer.Option(
            help="all, or names with commas between them: l1,psnr,lpips_vgg.",
            callback=known_metrics,
        ),
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


def with_options(options_class: type[Any]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Make the fields of a dataclass the options of a typer command.

    The command receives them together as its argument ``options``.
    """
    hints = get_type_hints(options_class, include_extras=True)
    own_first = sorted(
        fields(options_class), key=lambda field: field.name not in options_class.__annotations__
    )
    options = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in own_first
    ]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        signature = inspect.signature(command)
        others = [each for each in signature.parameters.values() if each.name != "options"]

        @functools.wraps(command)
        def called(**given: Any) -> int:
            values = {option.name: given.pop(option.name) for option in options}
            return command(**given, options=options_class(**values))

        called.__signature__ = signature.replace(parameters=[*others, *options])  # type: ignore[attr-defined]
        called.__annotations__ = {each.name: each.annotation for each in [*others, *options]}
        return called

    return decorate
