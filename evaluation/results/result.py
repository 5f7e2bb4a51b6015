"""Content of ``result.json``: means, counts and the conditions of an evaluation.

Means are finite, as JSON has no infinite numbers; files of earlier versions have the texts "inf"
and "-inf" for them, and other names of columns, which are translated when they are read.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import (  # pydantic asks for it before Python 3.12
    NotRequired,
    TypedDict,
    final,
)

from evaluation.metrics.registry import COLUMNS, current_name
from evaluation.results.frame_table import COPIED, MISSING, value_columns
from evaluation.results.statistics import differences, estimate
from utils.errors import InputError
from utils.files import write_atomically

RESULT_FILE = "result.json"
FRAMES_FILE = "frames.csv"  # beside it
INFINITE = {"inf": math.inf, "-inf": -math.inf}


def to_number(value: Any) -> Any:
    """Convert a number of the file, where infinity is a text."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError('infinity is written "inf", and a missing number null')
    return INFINITE.get(value, value) if isinstance(value, str) else value


def known_column(name: str) -> str:
    """Check the name of a column, and translate that of an earlier version."""
    name = current_name(name)
    if name not in COLUMNS:
        raise ValueError(f"unknown column {name!r}")
    return name


def with_current_columns(conditions: dict[str, Any]) -> dict[str, Any]:
    """Translate the columns whose networks the conditions of an earlier version name."""
    networks = conditions.get("networks")
    if isinstance(networks, dict):
        renamed = {current_name(column): network for column, network in networks.items()}
        return {**conditions, "networks": renamed}
    return conditions


Name = Annotated[str, AfterValidator(known_column)]
Number = Annotated[float, BeforeValidator(to_number)]
# Texts and numbers, some in groups one level deep
Conditions = Annotated[dict[str, Any], AfterValidator(with_current_columns)]


class MeanResult(TypedDict):
    """Mean over frames with its interval."""

    mean: Number | None  # None where no frame has a finite value
    interval: tuple[Number, Number] | None  # bootstrap 95 % over clips; None with fewer than two
    frames: int  # that have a finite value
    identical: NotRequired[int]  # frames without an error, of infinite value; left out where none


class RelativeToCopy(TypedDict):
    """Mean compared with that of a copy of the source, over frames where both have a value."""

    result: MeanResult
    copy_source: MeanResult
    difference: MeanResult  # result - copy_source, frame by frame


class CopyResult(TypedDict):
    """Comparison of a column with copying the source."""

    without_source_frames: RelativeToCopy
    moved: RelativeToCopy | None  # of the frames that moved; None where that is not known


@final
class MetricResult(MeanResult):
    """Means of a column that was computed."""

    clips: NotRequired[int]  # that have a value; not of FID, nor in results of earlier versions
    dropped: dict[str, list[str]]  # reason -> frames, each as clip/frame
    without_source_frames: MeanResult | None  # None where no driving frame is the source
    copy_source: NotRequired[CopyResult]  # where there is a source and a true frame


@final
class UnavailableResult(TypedDict):
    """Reason why a column could not be computed."""

    unavailable: str


class GroupResult(TypedDict):
    """Means over the frames of a clip, or of all clips of a person."""

    identity: NotRequired[str]  # of a clip
    clips: NotRequired[int]  # of a person
    frames: int
    metrics: dict[Name, Number | None]


class Moved(TypedDict):
    """Half of the frames that differs most from the source, without those that show it."""

    frames: int
    l1: float  # of the source and the driving frame: more than the median, which is this


class ClipCoverage(TypedDict):
    """Number of the listed clips that were used, and reasons for the others."""

    listed: int
    used: int
    dropped: dict[str, str]  # name -> reason


class PairCoverage(TypedDict):
    """Number of rows of the pair list that were used, and reasons for the others."""

    rows: int
    duplicates: int
    used: int
    missing: dict[str, str]  # name -> reason


class Coverage(TypedDict):
    """Clips and pairs that were asked for, and those that were used."""

    clips: ClipCoverage
    pairs: PairCoverage | None


class Summary(TypedDict):
    """Means and counts that follow from the table of frames."""

    counts: dict[Literal["frames", "clips", "identities"], int]
    moved: NotRequired[Moved]  # where l1 of the copied source is known
    metrics: dict[Name, MetricResult | UnavailableResult]  # in the order of ``COLUMNS``
    by_clip: dict[str, GroupResult]
    by_identity: dict[str, GroupResult]


@with_config(ConfigDict(strict=True, extra="forbid"))  # of the parts too
class Result(Summary):
    """Whole content of the file."""

    protocol: Literal["video", "pairs", "folders"]
    cross_identity: bool
    conditions: Conditions
    coverage: Coverage
    duration_seconds: float


def summarise(
    table: pd.DataFrame,
    unavailable: Mapping[str, str],
    fid: float | None,
    num_fid_frames: int,
    seed: int,
) -> Summary:
    """Compute means, intervals and counts of a table of frames.

    ``unavailable`` says of a column why it was not computed; ``fid``, which is of all frames and
    not of each, is None where it was not.
    """
    clips, identities = (table.groupby(key, sort=False) for key in ("clip", "identity"))
    far = far_from_source(table)
    moved = None if far is None else far[0]
    computed: dict[str, MetricResult | UnavailableResult] = {
        column: summarise_column(table, column, moved, seed) for column in value_columns(table)
    }
    if fid is not None:
        computed["fid"] = MetricResult(
            mean=fid, interval=None, frames=num_fid_frames, dropped={}, without_source_frames=None
        )
    for column, reason in unavailable.items():
        computed[column] = UnavailableResult(unavailable=reason)
    summary = Summary(
        counts={"frames": len(table), "clips": len(clips), "identities": len(identities)},
        metrics={column: computed[column] for column in COLUMNS if column in computed},
        by_clip=group_results(table, "clip", identity=clips["identity"].first()),
        by_identity=group_results(table, "identity", clips=identities["clip"].nunique()),
    )
    if far is not None:
        summary["moved"] = Moved(frames=int(far[0].sum()), l1=far[1])
    return summary


def computed_metrics(result: Result) -> dict[str, MetricResult]:
    """Select the columns that were computed."""
    return {
        name: metric for name, metric in result["metrics"].items() if "unavailable" not in metric
    }


def unavailable_metrics(result: Result) -> dict[str, str]:
    """Collect the reasons of the columns that could not be computed."""
    return {
        name: metric["unavailable"]
        for name, metric in result["metrics"].items()
        if "unavailable" in metric
    }


def group_results(table: pd.DataFrame, key: str, **facts: pd.Series) -> dict[str, GroupResult]:
    """Average the finite values of every column over the frames of each clip or identity."""
    finite = table[value_columns(table)].replace([np.inf, -np.inf], np.nan)
    means = finite.groupby(table[key], sort=False).mean().astype(object)
    results = pd.DataFrame({**facts, "frames": table.groupby(key, sort=False).size()})
    results["metrics"] = pd.Series(means.where(means.notna(), None).to_dict("index"))
    found: dict[str, GroupResult] = results.to_dict("index")
    return found


def far_from_source(table: pd.DataFrame) -> tuple[np.ndarray, float] | None:
    """Select the frames (N,) that differ from the source by more than the median, given too.

    By L1, among the frames that are not the source itself; None where that was not measured.
    """
    if f"{COPIED}l1" not in table:
        return None
    distance = table[f"{COPIED}l1"].mask(table["is_source"])
    median = float(distance.median())
    return None if np.isnan(median) else ((distance > median).to_numpy(), median)


def summarise_column(
    table: pd.DataFrame, column: str, moved: np.ndarray | None, seed: int
) -> MetricResult:
    """Compute the means of a column; ``moved`` (N,) says which frames moved far from the source."""
    others = ~table["is_source"].to_numpy()
    missing = table[table[column].isna()]
    names = missing["clip"] + "/" + missing["frame"]
    why = missing[MISSING].map(lambda reasons: reasons.get(column, "no value"))
    dropped = {reason: [*of] for reason, of in names.groupby(why, sort=False)}
    result: MetricResult = {
        **mean_result(table, table[column], seed),  # type: ignore[typeddict-item]
        "clips": table.loc[table[column].notna(), "clip"].nunique(),
        "dropped": dropped,
        "without_source_frames": (
            None if others.all() else mean_result(table[others], table.loc[others, column], seed)
        ),
    }
    if COPIED + column in table:
        result["copy_source"] = CopyResult(
            without_source_frames=relative_to_copy(table[others], column, seed),
            moved=None if moved is None else relative_to_copy(table[moved], column, seed),
        )
    return result


def relative_to_copy(table: pd.DataFrame, column: str, seed: int) -> RelativeToCopy:
    """Compute the means of a column compared with a copy of the source, where both have a value."""
    both = table.dropna(subset=[column, COPIED + column])
    values, copied = both[column], both[COPIED + column]
    difference = pd.Series(differences(copied.to_numpy(), values.to_numpy()))
    return RelativeToCopy(
        result=mean_result(both, values, seed),
        copy_source=mean_result(both, copied, seed),
        difference=mean_result(both, difference, seed),
    )


def mean_result(table: pd.DataFrame, values: pd.Series, seed: int) -> MeanResult:
    """Estimate the mean of values, one for each row of a table."""
    found = estimate(values.to_numpy(), table["clip"].to_numpy(), seed)
    result = MeanResult(mean=found.mean, interval=found.interval, frames=found.frames)
    if found.identical:
        result["identical"] = found.identical
    return result


def write_result(folder: Path, result: Result) -> None:
    """Write ``result.json`` into a folder, all of it or nothing.

    In paths ``?`` stands for bytes that are no UTF-8, which JSON does not hold.
    """
    text = json.dumps(result, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / RESULT_FILE, text.encode(errors="replace").decode() + "\n")


def read_result(path: Path) -> Result:
    """Read a ``result.json``; InputError where it is absent, damaged or another's."""
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
