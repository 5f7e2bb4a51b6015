"""Command ``check``: open everything in a root, list the problems, and repair what is possible.

Frames should have the size that the root was prepared at (``dataset.json``), otherwise the one
asked for, otherwise the most frequent one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from datasets.contents import read_contents
from datasets.inspection.clip_inspection import NOT_CHECKED, Fault, Inspection, WidthHeight, inspect
from datasets.inspection.problems import ADVICE, Expected, Found, Problem, find_problems
from datasets.inspection.repair import only_repairer, rejected_folder, repair_all
from datasets.records import SETTINGS, read_settings
from utils.errors import InputError
from utils.progress import progress_bar
from utils.section import Section
from utils.wording import counted
from utils.worker_pool import DIED, map_in_processes

PROBLEMS_LEFT = 1  # exit code
PUBLISHED_SIZE = 256  # expected where no clip can be read
SHOWN = 3  # examples of each problem


class CheckReport(Section):
    """Result of a check; the same root gives the same report."""

    root: str
    size: WidthHeight  # width and height that frames should have
    min_frames: int
    fixed: bool  # whether repairs were asked for
    clips: dict[str, int]  # by split, at the end
    found: dict[str, dict[str, str]]  # by problem: names, with details
    remaining: dict[str, dict[str, str]]  # after --fix; the same as found without it
    rejected: dict[str, str]  # clips that were moved out of the root, with their new places
    failed: dict[str, str]  # names that could not be repaired, with reasons

    def table(self) -> str:
        """Format the problems with counts and examples, and the advice for each kind."""
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
    """Check the clips of a root, and with ``fix`` repair them.

    Raises InputError where there is nothing to check, or where another run writes into the root.
    """
    with only_repairer(root) if fix and root.is_dir() else nullcontext():
        contents = read_contents(root)
        asked = asked_size(root, size)
        found = inspect_all(contents.all_clips, workers)
        expected = Expected(asked or most_frequent_size(found.values()), min_frames)
        problems = remaining = find_problems(contents, found, expected)
        rejected: dict[str, str] = {}
        failed: dict[str, str] = {}
        if fix and problems:
            changes = repair_all(problems, contents, expected, workers)
            rejected, failed = changes.rejected, changes.failed
            contents = read_contents(root, may_be_empty=True)
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


def asked_size(root: Path, size: int | None) -> WidthHeight | None:
    """Return the size that frames should have; None where nothing says it.  Raises InputError."""
    settings = read_settings(root)
    prepared = None if settings is None else settings.settings.get("size")
    if size is not None and prepared not in (None, size):
        raise InputError(
            f"{root} was prepared at {prepared} pixels ({SETTINGS}), not {size}: leave --size out, "
            "or prepare it again."
        )
    side = prepared if size is None else size
    return (side, side) if isinstance(side, int) else None


def most_frequent_size(found: Iterable[Inspection | Fault]) -> WidthHeight:
    """Return the size of most clips, the larger one of two that are equally frequent."""
    sizes = Counter(
        inspection.sizes[0]
        for inspection in found
        if isinstance(inspection, Inspection) and len(inspection.sizes) == 1
    )
    if not sizes:
        return PUBLISHED_SIZE, PUBLISHED_SIZE
    return max(sizes, key=lambda size: (sizes[size], size))


def inspect_all(paths: Sequence[Path], workers: int) -> Found:
    """Inspect clips in processes; the result has the order of ``paths``."""
    results = map_in_processes(inspect, paths, workers, lambda path: Fault(NOT_CHECKED, DIED))
    done = dict(progress_bar(results, total=len(paths), unit="clip"))
    return {path: done[path] for path in paths}


def by_kind(problems: Iterable[Problem]) -> dict[str, dict[str, str]]:
    kinds: dict[str, dict[str, str]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, {})[problem.name] = problem.detail
    return kinds
