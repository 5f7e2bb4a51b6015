"""One run of a preparing command: its shard of the work, its output, and its report.

The report counts the clips of each split, and names what was skipped, by reason.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple, TypeVar

from filelock import FileLock
from pydantic import AfterValidator, JsonValue

from datasets.preprocessing.measure_face_crop import write_face_crop
from datasets.records import CommandSettings, require_settings
from utils.errors import InputError
from utils.files import naming_errors, printable
from utils.locks import sole_writer
from utils.section import Section

logger = logging.getLogger(__name__)

SOME_SKIPPED = 1  # exit code

Item = TypeVar("Item")


class Outcome(NamedTuple):
    """Result for one clip, or for a row or video that gave none."""

    name: str
    split: str  # "" where it has none
    reason: str | None = None  # why there is no clip; None: there is one
    detail: str = ""


class Shard(NamedTuple):
    """Share of the work for one machine: the ``number``-th of ``total``, from 1."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read a shard from a text like "2/8".  Raises InputError for other texts."""
        number, _, total = text.partition("/")
        if number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
            return cls(int(number), int(total))
        raise InputError(f"A shard is i/n, for example 1/4 to 4/4: found {text!r}.")

    def select(self, items: Iterable[Item]) -> list[Item]:
        """Select the items of this shard among those of all."""
        return list(islice(items, self.number - 1, None, self.total))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @property
    def suffix(self) -> str:
        """Suffix of the names of its files: empty where there is one shard."""
        return "" if self.total == 1 else f"-{self.number}-of-{self.total}"

    @property
    def report(self) -> str:
        """Name of the file of its report: ``report-2-of-8.json``."""
        return f"report{self.suffix}.json"


Sorted = AfterValidator(lambda found: dict(sorted(found.items())))


class Report(Section):
    """Counts of the clips that exist, and reasons for the others; no time or order enters it."""

    command: str
    settings: CommandSettings
    shard: Shard = Shard()
    done: Annotated[dict[str, int], Sorted]  # clips of each split
    skipped: Annotated[dict[str, Annotated[dict[str, str], Sorted]], Sorted]
    # by reason: names, with details

    @classmethod
    def of(
        cls,
        command: str,
        settings: dict[str, JsonValue],
        shard: Shard,
        outcomes: Iterable[Outcome],
    ) -> "Report":
        done: Counter[str] = Counter()
        skipped: dict[str, dict[str, str]] = {}
        for outcome in outcomes:
            if outcome.reason is None:
                done[outcome.split] += 1
            else:
                names = skipped.setdefault(outcome.reason, {})
                names[printable(outcome.name)] = printable(outcome.detail)
        return cls(command=command, settings=settings, shard=shard, done=done, skipped=skipped)

    def write(self, root: Path) -> Path:
        """Write the report into ``root``, and return its file."""
        path = root / self.shard.report
        self.write_json(path)
        return path

    def table(self) -> str:
        """Format the counts by split and by reason, one to a line."""
        rows = [(f"done: {split}", count) for split, count in self.done.items()]
        rows += [(f"skipped: {reason}", len(names)) for reason, names in self.skipped.items()]
        width = max((len(text) for text, _ in rows), default=0)
        return "\n".join(f"{text:<{width}}  {count:>7,}" for text, count in rows) or "nothing done"


class Output(NamedTuple):
    """Data set that a run writes: a clip is at its place only when it is complete."""

    root: Path
    work: Path  # folder of this run for unfinished clips, on the disk of ``root``


@contextmanager
def open_output(
    root: Path, command: str, settings: dict[str, JsonValue], shard: Shard
) -> Iterator[Output]:
    """Open the data set in ``root``, a new one or one that was begun with the same settings.

    The shard is locked until the block ends.  Raises InputError where another run has it, or where
    ``root`` was begun otherwise.
    """
    work = root / f".work{shard.suffix}"
    busy = f"Another run is writing {shard} into {root}: wait for it."
    with naming_errors(root), sole_writer(root / f".lock{shard.suffix}", busy=busy):
        with FileLock(root / ".lock-settings"):  # shards may begin at once
            require_settings(root, command, settings)
        shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
        work.mkdir()
        try:
            yield Output(root, work)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def finish(report: Report, root: Path) -> int:
    """Write and log a report, and return the exit code; the last shard measures the face crop."""
    path = report.write(root)
    logger.info("%s", report.table())
    logger.info("Written: %s", path)
    if report.shard.total == 1:
        write_face_crop(root)
    else:
        logger.info("When all shards are done: python -m datasets merge %s", root)
    return SOME_SKIPPED if report.skipped else 0


def read_report(path: Path) -> Report:
    """Read a report.  Raises InputError where there is none."""
    report = Report.read_json(path, "is not a report: delete it and run its command again.")
    if report is None:
        raise InputError(f"There is no report {path}: run the command for that shard.")
    return report


def merge(root: Path) -> Report:
    """Join the reports of all shards in ``root`` to that of one run.

    Raises InputError where one is missing, or where they are not of one run.
    """
    totals = {read_report(path).shard.total for path in root.glob("report-*-of-*.json")}
    if not totals:
        raise InputError(
            f"{root} holds no reports of shards: name the output of a sharded command."
        )
    if len(totals) > 1:
        raise InputError(
            f"{root} holds reports of shards of different numbers ({sorted(totals)}): delete those "
            "that are out of date."
        )
    (total,) = totals
    first, *others = (read_report(root / Shard(i, total).report) for i in range(1, total + 1))
    done = Counter(first.done)
    skipped = {reason: dict(names) for reason, names in first.skipped.items()}
    for report in others:
        if (report.command, report.settings) != (first.command, first.settings):
            raise InputError(
                f"The shards in {root} were made with different settings: run again "
                f"{report.shard} or {first.shard}."
            )
        done.update(report.done)
        for reason, names in report.skipped.items():
            skipped.setdefault(reason, {}).update(names)
    return Report(command=first.command, settings=first.settings, done=done, skipped=skipped)
