"""The command ``check``: opens everything in a root, says what is wrong, and repairs what it can.

Frames should have the size that the root was prepared at (``dataset.json``); else the one asked
for; else the most frequent one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from pydantic import ValidationError

from datasets.contents import read_contents
from datasets.inspection.clip_inspection import Fault, Inspection, Size, inspect
from datasets.inspection.problems import ADVICE, Expected, Found, Problem, find_problems
from datasets.inspection.repair import only_repairer, rejected_folder, repair_all
from datasets.records import SETTINGS, DatasetSettings
from utils.errors import InputError
from utils.progress import progress_bar
from utils.section import Section
from utils.wording import counted
from utils.worker_pool import WorkerDied, map_in_processes

PROBLEMS_LEFT = 1  # exit code
PUBLISHED_SIZE = 256  # where no clip can be read
SHOWN = 3  # examples of each problem


class CheckReport(Section):
    """What a check found; the same for every check of the same root."""

    root: str
    size: Size  # width and height that frames should have
    min_frames: int
    fixed: bool  # whether repairs were asked for
    clips: dict[str, int]  # by split, at the end
    found: dict[str, dict[str, str]]  # by problem: names, with details
    remaining: dict[str, dict[str, str]]  # after --fix; without it the same
    rejected: dict[str, str]  # clips that were moved out of the root, and where to
    failed: dict[str, str]  # what could not be repaired, and why

    def table(self) -> str:
        """The problems with their counts and examples, and what was or can be done about them."""
        if not self.found and not self.remaining:
            return f"No problems in {counted(sum(self.clips.values()), 'clip')}."
        kinds = [kind for kind in ADVICE if kind in self.found or kind in self.remaining]
        lines = [self.row("problem", "found", "remain", "examples")]
        for kind in kinds:
            found, remaining = self.found.get(kind, {}), self.remaining.get(kind, {})
            examples = [f"{name}: {detail}" for name, detail in (remaining or found).items()]
            shown = [example.removesuffix(": ") for example in examples[:SHOWN]]
            if len(examples) > SHOWN:
                shown.append(f"and {len(examples) - SHOWN:,} more")
            lines.append(self.row(kind, f"{len(found):,}", f"{len(remaining):,}", shown[0]))
            lines += [self.row("", "", "", example) for example in shown[1:]]
        aside = rejected_folder(Path(self.root))
        lines += [""] + [
            f"{kind}: {ADVICE[kind].format(rejected=aside)}"
            for kind in kinds
            if kind in self.remaining
        ]
        if self.rejected:
            lines.append(f"Moved into {aside}: {len(self.rejected):,}.")
        lines += [f"not repaired: {name}: {reason}" for name, reason in self.failed.items()]
        return "\n".join(lines).rstrip()

    def row(self, kind: str, found: str, remaining: str, example: str) -> str:
        counts = f"{found:>7}  {remaining:>7}" if self.fixed else f"{found:>7}"
        return f"{kind:<{COLUMN}}  {counts}  {example}"


COLUMN = max(map(len, ADVICE))  # width of the first one


def check(root: Path, *, fix: bool, size: int | None, min_frames: int, workers: int) -> CheckReport:
    """Everything in a root opened, and repaired where ``fix`` asks for it.

    Raises InputError where there is nothing to check, or where another run writes into the root.
    """
    with only_repairer(root) if fix and root.is_dir() else nullcontext():
        contents = read_contents(root)
        contents.require_clips()
        asked = asked_size(root, size)
        found = inspect_all(contents.all_clips, workers)
        expected = Expected(asked or most_frequent_size(found.values()), min_frames)
        problems = remaining = find_problems(contents, found, expected)
        rejected: dict[str, str] = {}
        failed: dict[str, str] = {}
        if fix and problems:
            changes = repair_all(problems, contents, expected, workers)
            rejected, failed = changes.rejected, changes.failed
            contents = read_contents(root)
            found = {path: found[path] for path in found.keys() - changes.touched}
            again = [path for path in contents.all_clips if path not in found]
            found |= inspect_all(again, workers)
            remaining = find_problems(contents, found, expected)
    return CheckReport(
        root=str(root),
        size=expected.size,
        min_frames=min_frames,
        fixed=fix,
        clips={split: len(paths) for split, paths in contents.clips.items()},
        found=by_kind(problems),
        remaining=by_kind(remaining),
        rejected=rejected,
        failed=failed,
    )


def asked_size(root: Path, size: int | None) -> Size | None:
    """The size that frames should have, None where nothing says it.  Raises InputError."""
    prepared = prepared_size(root)
    if size is not None and prepared not in (None, size):
        raise InputError(
            f"{root} was prepared at {prepared} pixels ({SETTINGS}), not {size}: leave --size out, "
            "or prepare it again."
        )
    side = prepared if size is None else size
    return None if side is None else (side, side)


def prepared_size(root: Path) -> int | None:
    """The side of the frames that a root was prepared at; None where that is not known."""
    path = root / SETTINGS
    try:
        size = DatasetSettings.model_validate_json(path.read_text()).settings.get("size")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path} does not hold the settings of a data set: delete it.") from error
    return size if isinstance(size, int) else None


def most_frequent_size(found: Iterable[Inspection | Fault | WorkerDied]) -> Size:
    """The size of most clips; of two that are equally frequent the larger."""
    sizes = Counter(
        inspection.sizes[0]
        for inspection in found
        if isinstance(inspection, Inspection) and len(inspection.sizes) == 1
    )
    if not sizes:
        return PUBLISHED_SIZE, PUBLISHED_SIZE
    return max(sizes, key=lambda size: (sizes[size], size))


def inspect_all(paths: Sequence[Path], workers: int) -> Found:
    """What each clip is, in the order of ``paths``."""
    results = map_in_processes(inspect, paths, workers)
    done = dict(progress_bar(results, total=len(paths), unit="clip"))
    return {path: done[path] for path in paths}


def by_kind(problems: Iterable[Problem]) -> dict[str, dict[str, str]]:
    """Names and details, by problem."""
    kinds: dict[str, dict[str, str]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, {})[problem.name] = problem.detail
    return kinds
