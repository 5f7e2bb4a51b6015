"""Made-up tables of frames and results, for the tests of what is made from them."""

from typing import Any

import numpy as np
import pandas as pd

from evaluation.results import frame_table as frame_tables
from evaluation.results.result import Result, summarise

NAN = float("nan")


def frame_table(
    values: dict[str, list[float]], clips: list[str], missing: Any = None, **others: Any
) -> pd.DataFrame:
    """Make a table with the given values; NaN is missing because there is no face."""
    frames = [f"{clips[:i].count(clip):07d}" for i, clip in enumerate(clips)]
    keys = {
        "clip": clips,
        "identity": others.get("identities", [clip[:1] for clip in clips]),
        "frame": others.get("frames", frames),
        "is_source": others.get("is_source", [False] * len(clips)),
    }
    if missing is None:
        missing = [
            {column: "no face" for column, of in values.items() if np.isnan(of[i])}
            for i in range(len(clips))
        ]
    return frame_tables.frame_table(keys, values, others.get("copied", {}), missing)


def random_table(num_clips: int, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    """A table of a few clips of different length, the first frame of each being the source."""
    generator = np.random.default_rng(seed)
    clips = [f"id{i % 3}#{i}" for i in range(num_clips) for _ in range(3 + i % 4)]
    level = {clip: generator.normal(scale=0.005) for clip in dict.fromkeys(clips)}
    l1 = [0.035 + shift + level[clip] + generator.normal(scale=0.002) for clip in clips]
    akd = [NAN if generator.random() < 0.1 else 1 + 20 * value for value in l1]
    is_source = [i == 0 or clips[i - 1] != clip for i, clip in enumerate(clips)]
    psnr = [-20 * np.log10(value) for value in l1]
    return frame_table(
        {"l1": l1, "psnr": psnr, "akd": akd},
        clips,
        identities=[clip.split("#")[0] for clip in clips],
        is_source=is_source,
    )


def result_of(table: pd.DataFrame, **changes: Any) -> Result:
    """A result with this table's numbers."""
    result: Result = {
        "protocol": "video",
        "cross_identity": False,
        "conditions": {"checkpoint": "runs/vox/best", "versions": {"torch": "2.9"}, "seed": 0},
        "coverage": {
            "clips": {"listed": 3, "used": 2, "dropped": {"id9#9": "It cannot be decoded."}},
            "pairs": None,
        },
        "duration_seconds": 12.5,
        **summarise(table, {"aed": "no weights file was named"}, 17.25, 40, seed=0),
    }
    return {**result, **changes}  # type: ignore[typeddict-item]
