"""Parameters and floating-point operations of the network, by part.

Convolutions, matrix products and attention are counted, a multiplication with its addition as two
operations; warps, norms and activations are not, nor what a kernel saves by another algorithm.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.report import BenchmarkTable, Row
from modules.mcnet import MCNet


class NetworkPart(NamedTuple):
    """One box of the paper's figure."""

    name: str
    parameters: int
    flops: int  # for one picture
    needed_for: str  # "source", "driving frame" or "both"


def count_parts(model: MCNet, size: tuple[int, int]) -> list[NetworkPart]:
    """Count the parts of a network for pictures of ``size`` (H, W) in pixels."""
    # The counter tells parts apart by hooks that do not allow gradients.
    model = deepcopy(model).eval().requires_grad_(False)
    picture = torch.rand(1, 3, *size, device=next(model.parameters()).device)
    with FlopCounterMode(display=False) as counter:
        model(picture, picture)
    by_module = counter.get_flop_counts()

    def part(name: str, module: str, needed_for: str, calls: int = 1) -> NetworkPart:
        flops = sum(by_module[f"{type(model).__name__}.{module}"].values())
        return NetworkPart(
            name, count_parameters(model.get_submodule(module)), flops // calls, needed_for
        )

    parts = [
        part("keypoint detector", "detector", "both", calls=2),
        part("dense motion", "dense_motion", "driving frame"),
        part("encoder", "generator.encoder", "source"),
        part("decoder", "generator.decoder", "driving frame"),
    ]
    if model.config.memory is not None:
        parts.insert(3, part("memory", "generator.memory", "driving frame"))
    if model.landmark_detector is not None:
        parts.insert(1, part("landmark detector", "landmark_detector", "both", calls=2))
    return parts


def parts_table(parts: list[NetworkPart]) -> BenchmarkTable:
    """Parameters and operations by part, with their sums."""
    rows: list[Row] = [
        {
            "part": part.name,
            "parameters, million": part.parameters / 1e6,
            "GFLOP": part.flops / 1e9,
            "needed for": part.needed_for,
        }
        for part in parts
    ]
    source = sum(part.flops for part in parts if part.needed_for != "driving frame")
    driving = sum(part.flops for part in parts if part.needed_for != "source")
    parameters = sum(part.parameters for part in parts)
    rows += [
        {"part": "total for a source", "GFLOP": source / 1e9},
        {"part": "total for a driving frame", "GFLOP": driving / 1e9},
        {
            "part": "total for both, as in every frame of the plain network",
            "parameters, million": parameters / 1e6,
            "GFLOP": (source + driving) / 1e9,
        },
    ]
    note = (
        "Convolutions, matrix products and attention; a multiplication with its addition is two "
        "operations."
    )
    return BenchmarkTable(title="Parameters and operations", rows=rows, note=note)


def count_flops(call: Callable[[], object]) -> int:
    """Count the operations of a call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
