"""Comparison of two results, frame by frame.

The frames that both measured are paired by name; the mean of their differences, with an interval by
bootstrap over clips, says whether one network is better on such clips.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from evaluation.metrics.registry import COLUMNS
from evaluation.results.frame_table import read_frame_table, value_columns
from evaluation.results.result import (
    FRAMES_FILE,
    MetricResult,
    Result,
    computed_metrics,
    read_result,
)
from evaluation.results.statistics import differences, estimate, mean
from evaluation.results.tables import (
    Table,
    arrowed,
    escape_markdown,
    markdown_table,
    number,
    signed,
    signed_interval,
)
from utils.errors import InputError
from utils.files import printable
from utils.section import Section
from utils.wording import counted

Verdict = Literal["A better", "B better", "no difference shown", "not tested"]

HEADER = ("metric", "A", "B", "B - A", "95 % interval", "frames", "verdict")
NOTE = (
    "Means are of the frames in both that the source does not drive itself, but for FID, which is "
    "of all frames of each. A verdict says that the interval of the mean difference, by bootstrap "
    "over clips, leaves out 0; of twenty rows one may say so by chance. Frames that are identical "
    "to the true ones have an infinite PSNR, and no difference from one that is finite."
)


class MetricDifference(Section):
    """Means and difference of a column on the frames where both results have a value."""

    column: str
    mean_a: float | None  # None where no frame has a finite value
    mean_b: float | None
    difference: float | None  # the mean of b - a
    interval: tuple[float, float] | None  # 95 %
    frames: int  # that the difference is of
    verdict: Verdict
    identical_a: int = 0  # frames without an error, of infinite value, which no mean has
    identical_b: int = 0


class Comparison(Section):
    """Differences of two results, and the frames, columns and conditions of only one."""

    a: str  # path
    b: str
    rows: list[MetricDifference]
    only_a: list[str]  # columns that the other result does not have
    only_b: list[str]
    num_frames_a: int
    num_frames_b: int
    num_common_frames: int
    differing: list[str]  # conditions, groups as group.name


def compare(a: Path, b: Path, seed: int) -> Comparison:
    """Compare two ``result.json`` with the ``frames.csv`` beside each.

    Raises InputError where they are of different protocols or pairs, or have no frame in common.
    """
    result_a, result_b = read_result(a), read_result(b)
    check_comparable(a, result_a, b, result_b)
    table_a, table_b = read_table(a, result_a), read_table(b, result_b)
    common = table_a[~table_a["is_source"]].merge(
        table_b, on=["clip", "frame"], suffixes=("_a", "_b")
    )
    if common.empty:
        raise InputError(
            f"{a} and {b} have no frame in common: compare results on the same clips or pairs."
        )

    in_a, in_b = computed_metrics(result_a), computed_metrics(result_b)
    rows = [
        compare_frames(column, common, seed)
        if column in table_a
        else compare_whole(column, in_a[column], in_b[column])
        for column in COLUMNS
        if column in in_a and column in in_b
    ]
    return Comparison(
        a=printable(str(a)),
        b=printable(str(b)),
        rows=rows,
        only_a=[column for column in in_a if column not in in_b],
        only_b=[column for column in in_b if column not in in_a],
        num_frames_a=len(table_a),
        num_frames_b=len(table_b),
        num_common_frames=len(common),
        differing=differing(result_a["conditions"], result_b["conditions"]),
    )


def check_comparable(a: Path, result_a: Result, b: Path, result_b: Result) -> None:
    """Raise InputError where numbers of the two do not mean the same."""
    a_and_b = [
        {
            "protocol": result["protocol"],
            "identity": "cross" if result["cross_identity"] else "same",
            "pair list (SHA-256)": result["conditions"].get("pairs_sha256") or "none",
        }
        for result in (result_a, result_b)
    ]
    for name in a_and_b[0]:
        of_a, of_b = (each[name] for each in a_and_b)
        if of_a != of_b:
            raise InputError(
                f"{a} and {b} cannot be compared, as their {name} differs: {of_a} and {of_b}."
            )


def read_table(path: Path, result: Result) -> pd.DataFrame:
    """Read the frames beside a result; InputError where they are not this result's."""
    frames = path.parent / FRAMES_FILE
    table = read_frame_table(frames)
    found = set(value_columns(table))
    measured = computed_metrics(result).keys() - {"fid"}
    if len(table) != result["counts"]["frames"] or found != measured:
        raise InputError(
            f"{frames} is not of the same evaluation as {path}: it has "
            f"{counted(len(table), 'frame')} with {counted(len(found), 'column')}, "
            f"not {result['counts']['frames']} with {len(measured)}."
        )
    return table


def compare_frames(column: str, common: pd.DataFrame, seed: int) -> MetricDifference:
    """Compare a column on the frames of both results, where both have a value.

    ``common`` has the values as COLUMN_a and COLUMN_b.
    """
    both = common.dropna(subset=[f"{column}_a", f"{column}_b"])
    a, b = both[f"{column}_a"].to_numpy(), both[f"{column}_b"].to_numpy()
    difference = estimate(differences(a, b), both["clip"].to_numpy(), seed)
    return MetricDifference(
        column=column,
        mean_a=mean(a),
        mean_b=mean(b),
        difference=difference.mean,
        interval=difference.interval,
        frames=difference.frames,
        verdict=verdict(column, difference.interval),
        identical_a=int(np.isinf(a).sum()),
        identical_b=int(np.isinf(b).sum()),
    )


def compare_whole(column: str, a: MetricResult, b: MetricResult) -> MetricDifference:
    """Compare a column that is one number for all frames, which cannot be paired."""
    mean_a, mean_b = a["mean"], b["mean"]
    difference = None if mean_a is None or mean_b is None else mean_b - mean_a
    return MetricDifference(
        column=column,
        mean_a=mean_a,
        mean_b=mean_b,
        difference=difference,
        interval=None,
        frames=min(a["frames"], b["frames"]),
        verdict="not tested",
    )


def verdict(column: str, interval: tuple[float, float] | None) -> Verdict:
    """Judge by the interval of b - a."""
    if interval is None:
        return "not tested"
    low, high = interval
    if low <= 0 <= high:
        return "no difference shown"
    return "B better" if (low > 0) == (COLUMNS[column].better == "higher") else "A better"


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """List the names of conditions that are not the same; those of groups as group.name."""
    flat_a, flat_b = (pd.json_normalize(each).to_dict("records")[0] for each in (a, b))
    return [name for name in flat_a | flat_b if flat_a.get(name) != flat_b.get(name)]


def comparison_markdown(comparison: Comparison) -> str:
    """Write the comparison as Markdown."""
    rows = []
    for row in comparison.rows:
        column = COLUMNS[row.column]
        rows.append(
            (
                arrowed(row.column),
                with_identical(row.mean_a, row.identical_a, column.digits),
                with_identical(row.mean_b, row.identical_b, column.digits),
                signed(row.difference, column.digits + 1),
                signed_interval(row.interval, column.digits + 1),
                f"{row.frames:,}",
                row.verdict,
            )
        )
    lines = [
        f"A: {escape_markdown(comparison.a)}",
        f"B: {escape_markdown(comparison.b)}",
        f"Frames in both: {comparison.num_common_frames:,}, of {comparison.num_frames_a:,} in A "
        f"and {comparison.num_frames_b:,} in B.",
        markdown_table(Table(HEADER, rows)),
        NOTE,
    ]
    for name, columns in {"A": comparison.only_a, "B": comparison.only_b}.items():
        if columns:
            lines.append(f"Only in {name}: {', '.join(COLUMNS[c].title for c in columns)}.")
    if comparison.differing:
        names = ", ".join(comparison.differing)
        lines.append(f"Conditions that differ: {escape_markdown(names)}.")
    return "\n\n".join(lines) + "\n"


def with_identical(value: float | None, identical: int, digits: int) -> str:
    """Format a mean, with the number of frames that are not in it as they have no error."""
    return number(value, digits) + (f" (+ {identical:,} identical)" if identical else "")
