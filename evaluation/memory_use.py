"""Use of the memory of a network: the frames of clips rendered with other readings of it.

Self-reenactment of the test split: the first frame of a clip is driven by frames spread over it.
Each is rendered with the reading of the attention, with zeros in its place, and with the keys and
values of another person; and compared with the true frame, on all pixels and on those that the
source does not show.  N frames, S x S slots.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from datasets.clips import Clip
from datasets.frame_pairs import load_frames
from evaluation.metrics.pixels import psnr, to_pictures
from evaluation.results.statistics import differences, estimate, mean
from evaluation.results.tables import Table, markdown_table, number, signed, signed_interval
from modules.attention import Attention, Reading, usage_entropy
from modules.generator import VISIBLE_BLOCKS, Rendered
from modules.geometry import resize
from modules.mcnet import MCNet
from modules.memory_compensation import Compensation
from utils.errors import InputError
from utils.section import Section

SHOWN = 0.5  # of the occlusion map, from which the source shows a pixel
LEAST_HIDDEN = 0.01  # of a frame's pixels: fewer hidden ones say nothing

AS_IT_IS = "as it is"
HEADER = ("reading", "frames", "dB", "beside as it is", "95 % interval")
NOTE = (
    "Means over frames; intervals of the difference by bootstrap over people. The source does not "
    f"show a pixel where the occlusion map is below {SHOWN}; frames with less than "
    f"{LEAST_HIDDEN:.0%} of such pixels are left out of these rows."
)
PERPLEXITY_HEADER = ("level", "of a position", "over the data", "slots")

Intervention = Callable[[Attention], AbstractContextManager[Any]]


class Plan(NamedTuple):
    """Settings of the measurement."""

    size: tuple[int, int]  # of frames: height, width
    num_frames: int  # of each clip that drive it
    hidden_share: float  # of blocks of the occlusion map that are hidden besides, at random
    seed: int  # of these, and of the bootstrap


class Contrast(Section):
    """PSNR with one reading, compared with the reading as it is."""

    reading: str
    pixels: str
    mean: float | None  # dB
    difference: float | None  # dB more than as it is
    interval: tuple[float, float] | None  # 95 %, over people
    frames: int


class Perplexity(Section):
    """Number of slots that a level reads: exponentials of entropies."""

    level: str  # its positions
    position: float
    data: float
    slots: int


class MemoryUse(Section):
    """Result of the measurement."""

    people: int
    psnr: list[Contrast]
    perplexity: list[Perplexity]


class LevelUse(NamedTuple):
    """Attention of a level that reads the memory, in N frames."""

    level: str  # its positions
    usage: Tensor  # (N, S S)
    entropy: Tensor  # (N,) in nats


def with_zeros(attention: Attention) -> AbstractContextManager[Any]:
    """Replace what the attention reads by zeros, inside a block."""

    def erase(module: Attention, inputs: tuple[Tensor, ...], reading: Reading) -> Reading:
        return reading._replace(read=torch.zeros_like(reading.read))

    return attention.register_forward_hook(erase)


def with_exchange(attention: Attention) -> AbstractContextManager[Any]:
    """Let the halves of a batch read each other's keys and values, inside a block."""

    def exchange(module: Attention, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        query, *memory = inputs
        return query, *(part.roll(len(part) // 2, dims=0) for part in memory)

    return attention.register_forward_pre_hook(exchange)


READINGS: dict[str, Intervention] = {
    AS_IT_IS: lambda attention: nullcontext(),
    "zeros": with_zeros,
    "of another person": with_exchange,
}


def measure_memory(model: MCNet, clips: Sequence[Clip], plan: Plan) -> MemoryUse:
    """Render all clips with every reading, on the device of the model.

    Raises InputError for a network without a memory, and where there are not two people with clips
    of two frames or more.
    """
    if model.generator.memory is None:
        raise InputError("This network has no memory: there is nothing to measure.")
    clips = [clip for clip in clips if clip.num_frames > 1]
    others = [another_persons(clips, index) for index in range(len(clips))]
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(plan.seed)
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)  # (pixels, reading) -> dB
    people: list[str] = []
    uses: list[list[LevelUse]] = []  # of each clip
    for clip, other in zip(clips, others, strict=True):
        frames = torch.stack([chosen_frames(each, plan) for each in (clip, other)])
        source, driving = frames[:, :1].expand_as(frames[:, 1:]), frames[:, 1:]  # (2, N, 3, H, W)
        with torch.no_grad():
            encoded = model.encode(source.flatten(0, 1).to(device))
            keypoints = model.detect(driving.flatten(0, 1).to(device))
        hidden = torch.rand(plan.num_frames, 1, VISIBLE_BLOCKS, VISIBLE_BLOCKS, generator=generator)
        visible = (hidden >= plan.hidden_share).to(keypoints.positions).repeat(2, 1, 1, 1)
        people += [clip.identity] * plan.num_frames
        for reading, intervention in READINGS.items():
            with intervention(model.generator.memory.attention), torch.no_grad():
                rendered = model.render(encoded, keypoints, visible=visible)
            for pixels, values in psnr_by_pixels(rendered, driving[0]).items():
                scores[pixels, reading] += values
            if reading == AS_IT_IS:
                uses.append([level_use(level, plan) for level in rendered.compensations])
    return MemoryUse(
        people=len(set(people)),
        psnr=contrasts(scores, np.array(people), plan.seed),
        perplexity=[perplexity(level) for level in zip(*uses, strict=True)],
    )


def another_persons(clips: Sequence[Clip], index: int) -> Clip:
    """Find the next clip, around the end, of another person than the clip of this index."""
    following = [*clips[index + 1 :], *clips[:index]]
    for clip in following:
        if clip.identity != clips[index].identity:
            return clip
    raise InputError(
        "Another person's memory needs clips of two people, of two frames or more: found "
        f"{len({clip.identity for clip in clips})} among {len(clips)} clips."
    )


def chosen_frames(clip: Clip, plan: Plan) -> Tensor:
    """Read the first frame of a clip and N spread over the rest, (1 + N, 3, H, W) in [0, 1]."""
    numbers = np.linspace(1, clip.num_frames - 1, plan.num_frames).round().astype(int)
    return load_frames(clip, [0, *numbers.tolist()], plan.size).float() / 255


def psnr_by_pixels(rendered: Rendered, driving: Tensor) -> dict[str, list[float]]:
    """Compute PSNR of the first N frames of a batch by the pixels that count.

    ``driving`` (N, 3, H, W) are the truth.
    """
    pictures, truths = to_pictures(rendered.prediction[: len(driving)]), to_pictures(driving)
    occlusion = resize(rendered.motion.occlusion[: len(driving)], driving.shape[-2:])
    hidden = (occlusion[:, 0] < SHOWN).cpu().numpy()  # (N, H, W)
    triples = list(zip(pictures, truths, hidden, strict=True))
    return {
        "all": [psnr(picture, truth) for picture, truth, _ in triples],
        "not shown by the source": [
            psnr(picture[where], truth[where]) if where.mean() >= LEAST_HIDDEN else np.nan
            for picture, truth, where in triples
        ],
    }


def contrasts(
    scores: dict[tuple[str, str], list[float]], people: np.ndarray, seed: int
) -> list[Contrast]:
    """Compare every reading with the one as it is, on the same frames."""
    rows = []
    for pixels, reading in sorted(scores, key=lambda key: key[0]):
        measured, base = (np.array(scores[pixels, each]) for each in (reading, AS_IT_IS))
        difference = estimate(differences(base, measured), people, seed)
        differs = reading != AS_IT_IS
        rows.append(
            Contrast(
                reading=reading,
                pixels=pixels,
                mean=mean(measured),
                difference=difference.mean if differs else None,
                interval=difference.interval if differs else None,
                frames=difference.frames,
            )
        )
    return rows


def level_use(level: Compensation, plan: Plan) -> LevelUse:
    """Keep how a level reads the memory in the frames of the first clip of a batch."""
    height, width = level.read.shape[-2:]
    first = slice(plan.num_frames)
    return LevelUse(f"{width} x {height}", level.usage[first], level.entropy[first])


def perplexity(uses: Sequence[LevelUse]) -> Perplexity:
    """Compute the perplexity of a level from its use in each clip, per position and over all."""
    usage = torch.cat([use.usage for use in uses])
    return Perplexity(
        level=uses[0].level,
        position=torch.cat([use.entropy for use in uses]).mean().exp().item(),
        data=usage_entropy(usage).exp().item(),
        slots=usage.shape[1],
    )


def memory_markdown(use: MemoryUse) -> str:
    """Write the result as Markdown tables."""
    parts = [f"People: {use.people}."]
    for pixels in dict.fromkeys(row.pixels for row in use.psnr):
        rows = [
            (
                row.reading,
                f"{row.frames:,}",
                number(row.mean, 2),
                signed(row.difference, 3),
                signed_interval(row.interval, 3),
            )
            for row in use.psnr
            if row.pixels == pixels
        ]
        parts += [f"Pixels: {pixels}.", markdown_table(Table(HEADER, rows))]
    levels = [
        (row.level, f"{row.position:.1f}", f"{row.data:.1f}", str(row.slots))
        for row in use.perplexity
    ]
    table = markdown_table(Table(PERPLEXITY_HEADER, levels))
    return "\n\n".join([*parts, NOTE, "Perplexity of the attention:", table]) + "\n"
