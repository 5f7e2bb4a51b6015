"""What became of the clips of a data set: counted by reason, for one run or joined for several."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue, ValidationError

from utils.errors import InputError
from utils.files import printable, write_atomically
from utils.section import Section

REPORT = "report.json"


class Outcome(NamedTuple):
    """What became of one clip, or of a row or video that gave none."""

    name: str
    split: str  # "" where it has none
    reason: str | None = None  # why there is no clip; None: it is there
    detail: str = ""


class Shard(NamedTuple):
    """A share of the work, for a machine of its own: the ``number``-th of ``total``, from 1."""

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that "2/8" names.  Raises InputError for other texts."""
        number, _, total = text.partition("/")
        if number.isdecimal() and total.isdecimal() and 1 <= int(number) <= int(total):
            return cls(int(number), int(total))
        raise InputError(f"A shard is i/n, counted from 1 ({text!r}): 1/4 to 4/4, say.")

    def segments(self, position: int) -> bool:
        """Whether the item at this position of all is among its own."""
        return position % self.total == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @property
    def suffix(self) -> str:
        """What the names of its files end in: nothing where there is one shard."""
        return "" if self.total == 1 else f"-{self.number}-of-{self.total}"


class Report(Section):
    """Which clips are there, and why others are not; the same for every run that ends alike."""

    command: str
    settings: dict[str, JsonValue]
    shard: tuple[int, int] = (1, 1)
    done: dict[str, int]  # clips of each split
    skipped: dict[str, dict[str, str]]  # by reason: names, with details

    @classmethod
    def of(
        cls,
        command: str,
        settings: dict[str, JsonValue],
        shard: Shard,
        outcomes: Iterable[Outcome],
    ) -> "Report":
        done: dict[str, int] = {}
        skipped: dict[str, dict[str, str]] = {}
        for outcome in outcomes:
            if outcome.reason is None:
                done[outcome.split] = done.get(outcome.split, 0) + 1
            else:
                names = skipped.setdefault(outcome.reason, {})
                names[printable(outcome.name)] = printable(outcome.detail)
        return cls(
            command=command,
            settings=settings,
            shard=(shard.number, shard.total),
            done=dict(sorted(done.items())),
            skipped=_in_order(skipped),
        )

    @property
    def num_done(self) -> int:
        return sum(self.done.values())

    def write(self, root: Path) -> Path:
        """Writes it into ``root``, and returns the file."""
        path = root / report_name(Shard(*self.shard))
        write_atomically(path, self.model_dump_json(indent=1) + "\n")
        return path

    def table(self) -> str:
        """Counts by split and by reason, one to a line."""
        rows = [(f"done: {split}", count) for split, count in self.done.items()]
        rows += [(f"skipped: {reason}", len(names)) for reason, names in self.skipped.items()]
        width = max((len(text) for text, _ in rows), default=0)
        return "\n".join(f"{text:<{width}}  {count:>7,}" for text, count in rows) or "nothing done"


def report_name(shard: Shard) -> str:
    """The file of a shard's report, ``report-2-of-8.json``."""
    stem, dot, ending = REPORT.partition(".")
    return f"{stem}{shard.suffix}{dot}{ending}"


def read_report(path: Path) -> Report:
    """A report.  Raises InputError where the file is none."""
    try:
        return Report.model_validate_json(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"There is no report {path}: run the command for that shard.") from error
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(f"{path} is not a report: delete it and run its command again.") from error


def merge(root: Path) -> Report:
    """The reports of all shards in ``root`` as that of one run.

    Raises InputError where one is missing, or where they are not of one run.
    """
    paths = sorted(root.glob("report-*-of-*.json"))
    if not paths:
        raise InputError(
            f"{root} holds no reports of shards: name the output of a sharded command."
        )
    counts = {read_report(path).shard[1] for path in paths}
    if len(counts) > 1:
        raise InputError(
            f"{root} holds reports of shards of different numbers ({sorted(counts)}): delete those "
            "that are out of date."
        )
    (count,) = counts
    reports = [read_report(root / report_name(Shard(i, count))) for i in range(1, count + 1)]
    first = reports[0]
    for report in reports:
        if (report.command, report.settings) != (first.command, first.settings):
            raise InputError(
                f"The shards in {root} were made with different settings: run again "
                f"{Shard(*report.shard)} or {Shard(*first.shard)}."
            )
    done: dict[str, int] = {}
    skipped: dict[str, dict[str, str]] = {}
    for report in reports:
        for split, number in report.done.items():
            done[split] = done.get(split, 0) + number
        for reason, names in report.skipped.items():
            skipped.setdefault(reason, {}).update(names)
    return Report(
        command=first.command,
        settings=first.settings,
        done=dict(sorted(done.items())),
        skipped=_in_order(skipped),
    )


def _in_order(skipped: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    return {reason: dict(sorted(names.items())) for reason, names in sorted(skipped.items())}
