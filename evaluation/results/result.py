"""``result.json``: what an evaluation found, and under which conditions.

Means are finite, as JSON has no infinite numbers; files of earlier versions have the texts "inf"
and "-inf" for them.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import (  # pydantic asks for it before Python 3.12
    NotRequired,
    TypedDict,
    final,
)

from evaluation.metrics.registry import COLUMNS
from evaluation.results.frame_table import FrameTable
from evaluation.results.statistics import differences, estimate, group_means
from utils.errors import InputError
from utils.files import write_atomically

RESULT_FILE = "result.json"
FRAMES_FILE = "frames.csv"  # beside it
INFINITE = {"inf": math.inf, "-inf": -math.inf}


def to_number(value: Any) -> Any:
    """A number from the file, where infinity is a text."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('infinity is written "inf", and a missing number null')
    return INFINITE.get(value, value) if isinstance(value, str) else value


def known_column(name: str) -> str:
    if name not in COLUMNS:
        raise ValueError(f"unknown column {name!r}")
    return name


Name = Annotated[str, AfterValidator(known_column)]
Number = Annotated[float, BeforeValidator(to_number)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]  # low, high


class MeanResult(TypedDict):
    """A mean over frames."""

    mean: Number | None  # None where no frame has a finite value
    interval: Interval | None  # bootstrap 95 % over clips; None with fewer than two
    frames: int  # that have a finite value
    identical: NotRequired[int]  # frames without an error, of infinite value; left out where none


class BesideCopy(TypedDict):
    """A mean beside that of copying the source, of the frames where both have a value."""

    result: MeanResult
    copy_source: MeanResult
    difference: MeanResult  # result - copy_source, frame by frame


class CopyResult(TypedDict):
    """How much better or worse it is to copy the source."""

    without_source_frames: BesideCopy
    moved: BesideCopy | None  # of the frames that moved; None where that is not known


@final
class MetricResult(MeanResult):
    """A column that was computed."""

    clips: NotRequired[int]  # that have a value; not of FID, nor in results of earlier versions
    dropped: dict[str, list[str]]  # reason -> frames, each as clip/frame
    without_source_frames: MeanResult | None  # None where no driving frame is the source
    copy_source: NotRequired[CopyResult]  # where there is a source and a true frame


@final
class UnavailableResult(TypedDict):
    """A column that could not be computed."""

    unavailable: str


class ClipResult(TypedDict):
    """The means of a clip."""

    identity: str
    frames: int
    metrics: dict[Name, Number | None]


class IdentityResult(TypedDict):
    """The means of all clips of a person."""

    clips: int
    frames: int
    metrics: dict[Name, Number | None]


class Counts(TypedDict):
    """How much was measured."""

    frames: int
    clips: int
    identities: int


class Moved(TypedDict):
    """The half of the frames that differ most from the source, without those that show it."""

    frames: int
    l1: float  # of the source and the driving frame: more than the median, which is this


class ClipCoverage(TypedDict):
    """How many of the listed clips were used."""

    listed: int
    used: int
    dropped: dict[str, str]  # name -> reason


class PairCoverage(TypedDict):
    """How many rows of the pair list were used."""

    rows: int
    duplicates: int
    used: int
    missing: dict[str, str]  # name -> reason


class Coverage(TypedDict):
    """How much of what was asked for was used."""

    clips: ClipCoverage
    pairs: PairCoverage | None


class Summary(TypedDict):
    """What follows from the numbers of the frames."""

    counts: Counts
    moved: NotRequired[Moved]  # where l1 of the copied source is known
    metrics: dict[Name, MetricResult | UnavailableResult]  # in the order of ``COLUMNS``
    by_clip: dict[str, ClipResult]
    by_identity: dict[str, IdentityResult]


@with_config(ConfigDict(strict=True, extra="forbid"))  # of the parts too
class Result(Summary):
    """The whole file."""

    protocol: Literal["video", "pairs", "folders"]
    cross_identity: bool
    conditions: dict[str, Any]  # texts and numbers, some in groups one level deep
    coverage: Coverage
    duration_seconds: float


def summarise(
    table: FrameTable,
    unavailable: Mapping[str, str],
    fid: float | None,
    num_fid_frames: int,
    seed: int,
) -> Summary:
    """Means, intervals and counts of a table.

    ``unavailable`` says of a column why it was not computed; ``fid``, which is of all frames and
    not of each, is None where it was not.
    """
    clips, clip_index = in_order(table.clips)
    identities, identity_index = in_order(table.identities)
    first_rows = np.unique(clip_index, return_index=True)[1]
    clip_identities = identity_index[first_rows]

    far = far_from_source(table)
    moved = None if far is None else far[0]
    computed: dict[str, MetricResult | UnavailableResult] = {
        column: summarise_column(table, column, clip_index, moved, seed) for column in table.values
    }
    if fid is not None:
        computed["fid"] = MetricResult(
            mean=fid, interval=None, frames=num_fid_frames, dropped={}, without_source_frames=None
        )
    for column, reason in unavailable.items():
        computed[column] = UnavailableResult(unavailable=reason)

    clip_means = columns_by_group(table, clip_index, len(clips))
    identity_means = columns_by_group(table, identity_index, len(identities))
    frames_of_clip = np.bincount(clip_index, minlength=len(clips)).tolist()
    frames_of_identity = np.bincount(identity_index, minlength=len(identities)).tolist()
    clips_of_identity = np.bincount(clip_identities, minlength=len(identities)).tolist()
    summary = Summary(
        counts=Counts(frames=len(table.clips), clips=len(clips), identities=len(identities)),
        metrics={column: computed[column] for column in COLUMNS if column in computed},
        by_clip={
            clip: ClipResult(
                identity=identities[clip_identities[i]],
                frames=frames_of_clip[i],
                metrics=clip_means[i],
            )
            for i, clip in enumerate(clips)
        },
        by_identity={
            identity: IdentityResult(
                clips=clips_of_identity[i],
                frames=frames_of_identity[i],
                metrics=identity_means[i],
            )
            for i, identity in enumerate(identities)
        },
    )
    if far is not None:
        summary["moved"] = Moved(frames=int(far[0].sum()), l1=far[1])
    return summary


def far_from_source(table: FrameTable) -> tuple[np.ndarray, float] | None:
    """Which frames (N,) differ from the source by more than the median, and this median.

    By L1, among the frames that are not the source itself; None where that was not measured.
    """
    distance = table.copied.get("l1")
    if distance is None:
        return None
    distance = np.where(table.is_source, np.nan, distance)
    if np.isnan(distance).all():
        return None
    median = float(np.nanmedian(distance))
    return distance > median, median


def summarise_column(
    table: FrameTable, column: str, clip_index: np.ndarray, moved: np.ndarray | None, seed: int
) -> MetricResult:
    """Means of a column; ``moved`` (N,) says which frames moved far from the source."""
    values, others = table.values[column], ~table.is_source
    every = mean_result(values, clip_index, seed)
    result = MetricResult(
        mean=every["mean"],
        interval=every["interval"],
        frames=every["frames"],
        clips=len(np.unique(clip_index[~np.isnan(values)])),
        dropped=dropped_frames(table, column),
        without_source_frames=(
            None if others.all() else mean_result(values[others], clip_index[others], seed)
        ),
    )
    if "identical" in every:
        result["identical"] = every["identical"]
    if column in table.copied:
        result["copy_source"] = CopyResult(
            without_source_frames=beside_copy(table, column, others, clip_index, seed),
            moved=None if moved is None else beside_copy(table, column, moved, clip_index, seed),
        )
    return result


def beside_copy(
    table: FrameTable, column: str, rows: np.ndarray, clip_index: np.ndarray, seed: int
) -> BesideCopy:
    """The means of some rows (N,) of a column beside those of the copied source."""
    values, copied = table.values[column][rows], table.copied[column][rows]
    clip_index, difference = clip_index[rows], differences(copied, values)
    both = ~np.isnan(difference)
    result, copy_source, difference_result = (
        mean_result(of[both], clip_index[both], seed) for of in (values, copied, difference)
    )
    return BesideCopy(result=result, copy_source=copy_source, difference=difference_result)


def mean_result(values: np.ndarray, clip_index: np.ndarray, seed: int) -> MeanResult:
    mean, interval, frames, identical = estimate(values, clip_index, seed)
    result = MeanResult(
        mean=mean, interval=None if interval is None else list(interval), frames=frames
    )
    return MeanResult(**result, identical=identical) if identical else result


def dropped_frames(table: FrameTable, column: str) -> dict[str, list[str]]:
    """The frames without a value, by reason."""
    dropped: dict[str, list[str]] = {}
    for i in np.flatnonzero(np.isnan(table.values[column])):
        reason = str(table.missing[column][i]) or "no value"
        dropped.setdefault(reason, []).append(f"{table.clips[i]}/{table.frames[i]}")
    return dropped


def columns_by_group(
    table: FrameTable, index: np.ndarray, num_groups: int
) -> list[dict[str, float | None]]:
    """The means of every column for each group of frames."""
    columns = [column for column in COLUMNS if column in table.values]
    means = [group_means(table.values[column], index, num_groups) for column in columns]
    return [
        {column: of[i] for column, of in zip(columns, means, strict=True)}
        for i in range(num_groups)
    ]


def in_order(names: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The different names as they first appear, and for every row (N,) the number of its name."""
    numbers: dict[str, int] = {}
    index = [numbers.setdefault(name, len(numbers)) for name in names.tolist()]
    return list(numbers), np.array(index, np.int64)


def write_result(folder: Path, result: Result) -> None:
    """Writes ``result.json`` into a folder, all of it or nothing.

    In paths ``?`` stands for bytes that are no UTF-8, which JSON does not hold.
    """
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / RESULT_FILE, text.encode(errors="replace").decode() + "\n")


def read_result(path: Path) -> Result:
    """The result in a ``result.json``; InputError where it is absent, damaged or another's."""
    try:
        return TypeAdapter(Result).validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}: name the {RESULT_FILE} of an evaluation."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"{path} is not a {RESULT_FILE} of this evaluation, or is damaged: "
            f"{place + ': ' if place else ''}{first['msg']}."
        ) from error
