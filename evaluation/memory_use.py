"""What the memory of a network is worth: the same frames with other readings of it.

Self-reenactment of the test split: the first frame of a clip is driven by frames spread over it.
Each is rendered with what attention reads, with zeros in its place, and with the keys and values
of another person; and compared with the true frame, on all pixels and on those that the source
does not show.  N frames, S x S slots.
"""

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
from evaluation.results.tables import NOTHING, Table, markdown_table, number
from modules.attention import Attention, Reading, usage_entropy
from modules.generator import VISIBLE_BLOCKS, Rendered
from modules.geometry import Keypoints, resize
from modules.mcnet import Encoded, MCNet
from modules.memory_compensation import Compensation
from utils.errors import InputError

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
    """What is rendered of the clips."""

    size: tuple[int, int]  # of frames: height, width
    num_frames: int  # of each clip that drive it
    hidden_share: float  # of blocks of the occlusion map that are hidden besides, at random
    seed: int  # of these, and of the bootstrap


class ClipFrames(NamedTuple):
    """Frames of one clip."""

    source: Tensor  # (N, 3, H, W) in [0, 1], N times the same
    driving: Tensor  # (N, 3, H, W) in [0, 1]


class LevelUse(NamedTuple):
    """How a level reads the memory in some frames."""

    size: tuple[int, int]  # height and width of the level
    usage: Tensor  # (N, S S)
    entropy: Tensor  # (N,), in nats


class Contrast(NamedTuple):
    """PSNR with a reading, beside that with the reading as it is."""

    reading: str
    pixels: str
    mean: float | None  # dB
    difference: float | None  # dB more than as it is
    interval: tuple[float, float] | None  # 95 %, over people
    frames: int


class Perplexity(NamedTuple):
    """How many slots a level reads: exponentials of entropies."""

    level: str  # its positions
    position: float
    data: float
    slots: int


class MemoryUse(NamedTuple):
    """What the memory is worth."""

    people: int
    contrasts: list[Contrast]
    perplexities: list[Perplexity]


def with_zeros(attention: Attention) -> AbstractContextManager[Any]:
    """Let nothing be read, inside a block."""

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
    """Render all clips in every way, on the device of the model.

    Raises InputError for a network without a memory, and where there are not two people with clips
    of two frames or more.
    """
    if model.generator.memory is None:
        raise InputError("This network has no memory: there is nothing to measure.")
    clips = [clip for clip in clips if clip.num_frames > 1]
    others = [another_persons(clips, index) for index in range(len(clips))]
    generator = torch.Generator().manual_seed(plan.seed)
    scores: dict[tuple[str, str], list[float]] = {}
    people: list[str] = []
    uses: list[list[LevelUse]] = []  # of each clip
    for clip, other in zip(clips, others, strict=True):
        own, others_frames = driven(clip, plan), driven(other, plan)
        encoded, keypoints = encode_both(model, own, others_frames)
        hidden = torch.rand(plan.num_frames, 1, VISIBLE_BLOCKS, VISIBLE_BLOCKS, generator=generator)
        visible = (hidden >= plan.hidden_share).to(keypoints.positions).repeat(2, 1, 1, 1)
        people += [clip.identity] * plan.num_frames
        for reading, intervention in READINGS.items():
            with intervention(model.generator.memory.attention), torch.no_grad():
                rendered = model.render(encoded, keypoints, visible=visible)
            for pixels, values in compare(rendered, own.driving).items():
                scores.setdefault((reading, pixels), []).extend(values)
            if reading == AS_IT_IS:
                uses.append([level_use(x, plan.num_frames) for x in rendered.compensations])
    return MemoryUse(
        len(set(people)), contrasts(scores, np.array(people), plan.seed), perplexities(uses)
    )


def another_persons(clips: Sequence[Clip], index: int) -> Clip:
    """The next clip, around the end, that shows another person than the clip of this index."""
    following = [*clips[index + 1 :], *clips[:index]]
    for clip in following:
        if clip.identity != clips[index].identity:
            return clip
    raise InputError(
        "Another person's memory needs clips of two people, of two frames or more: found "
        f"{len({clip.identity for clip in clips})} among {len(clips)} clips."
    )


def driven(clip: Clip, plan: Plan) -> ClipFrames:
    """The first frame of a clip, and frames spread over the rest."""
    numbers = np.linspace(1, clip.num_frames - 1, plan.num_frames).round().astype(int)
    frames = load_frames(clip, [0, *numbers.tolist()], plan.size).float() / 255
    return ClipFrames(frames[:1].expand_as(frames[1:]), frames[1:])


@torch.no_grad()
def encode_both(model: MCNet, own: ClipFrames, other: ClipFrames) -> tuple[Encoded, Keypoints]:
    """Two people in one batch, own first: their sources, and the keypoints that drive them."""
    device = next(model.parameters()).device
    source, driving = (torch.cat(both).to(device) for both in zip(own, other, strict=True))
    return model.encode(source), model.detect(driving)


def level_use(level: Compensation, num_frames: int) -> LevelUse:
    """What counts of a level, of the first frames of a batch."""
    height, width = level.read.shape[-2:]
    return LevelUse((height, width), level.usage[:num_frames], level.entropy[:num_frames])


def compare(rendered: Rendered, driving: Tensor) -> dict[str, list[float]]:
    """PSNR of the first frames of a batch, as many as drive it, (N,) by the pixels that count."""
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
    """Every reading beside the one as it is, on the same frames."""
    rows = []
    for (reading, pixels), values in scores.items():
        measured, base = np.array(values), np.array(scores[AS_IT_IS, pixels])
        difference = estimate(differences(base, measured), people, seed)
        own = mean(measured[~np.isnan(measured)])
        if reading == AS_IT_IS:
            rows.append(Contrast(reading, pixels, own, None, None, difference.frames))
        else:
            rows.append(
                Contrast(
                    reading, pixels, own, difference.mean, difference.interval, difference.frames
                )
            )
    return sorted(rows, key=lambda row: row.pixels)


def perplexities(uses: list[list[LevelUse]]) -> list[Perplexity]:
    """Of each level that reads the memory, finest first."""
    rows = []
    for levels in zip(*uses, strict=True):
        height, width = levels[0].size
        entropy = torch.cat([level.entropy for level in levels]).mean()
        usage = torch.cat([level.usage for level in levels])
        data = usage_entropy(usage)
        rows.append(
            Perplexity(
                f"{width} x {height}", entropy.exp().item(), data.exp().item(), usage.shape[1]
            )
        )
    return rows


def memory_markdown(use: MemoryUse) -> str:
    """The result as Markdown tables."""
    parts = [f"People: {use.people}."]
    for pixels in dict.fromkeys(row.pixels for row in use.contrasts):
        rows = [row for row in use.contrasts if row.pixels == pixels]
        parts += [
            f"Pixels: {pixels}.",
            markdown_table(Table(HEADER, [contrast_cells(row) for row in rows])),
        ]
    table = [
        (row.level, f"{row.position:.1f}", f"{row.data:.1f}", str(row.slots))
        for row in use.perplexities
    ]
    parts += [NOTE, "Perplexity of the attention:", markdown_table(Table(PERPLEXITY_HEADER, table))]
    return "\n\n".join(parts) + "\n"


def contrast_cells(row: Contrast) -> tuple[str, ...]:
    difference = NOTHING if row.difference is None else f"{row.difference:+.3f}"
    interval = NOTHING
    if row.interval is not None:
        interval = " to ".join(f"{end:+.3f}" for end in row.interval)
    return row.reading, f"{row.frames:,}", number(row.mean, 2), difference, interval


def memory_json(use: MemoryUse) -> dict[str, Any]:
    """The result as plain values."""
    return {
        "people": use.people,
        "psnr": [row._asdict() for row in use.contrasts],
        "perplexity": [row._asdict() for row in use.perplexities],
    }
