"""What all preparing commands do alike: begin in a root, and end with a report."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import JsonValue

from datasets.preprocessing.cutting import Output
from datasets.preprocessing.face_crop import write_face_crop
from datasets.preprocessing.report import Report, Shard, merge
from datasets.records import keep_settings
from utils.errors import OutputError
from utils.locks import sole_writer

logger = logging.getLogger(__name__)

SOME_SKIPPED = 1  # exit code


@contextmanager
def begun(
    root: Path, command: str, settings: dict[str, JsonValue], shard: Shard
) -> Iterator[Output]:
    """The data set in ``root``, new or begun before with the same settings.

    Nobody else works on the shard meanwhile.  Raises InputError where that cannot be.
    """
    work = root / f".work{shard.suffix}"
    try:
        busy = f"Another run is writing {shard} into {root}: wait for it."
        with sole_writer(root / f".lock{shard.suffix}", busy=busy):
            with FileLock(root / ".lock-settings"):  # shards may begin at once
                keep_settings(root, command, settings)
            shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
            work.mkdir()
            try:
                yield Output(root, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{root} cannot be written: {error.strerror or error}.") from error


def finish(report: Report, root: Path) -> int:
    """Writes and shows a report, and gives the exit code.  The geometry waits for all shards."""
    path = report.write(root)
    logger.info("%s", report.table())
    logger.info("Written: %s", path)
    if report.shard == (1, 1):
        write_face_crop(root)
    else:
        logger.info("When all shards are done: python -m datasets merge %s", root)
    return SOME_SKIPPED if report.skipped else 0


def merge_shards(root: Path) -> int:
    """Joins the reports of all shards of ``root`` into that of one run."""
    return finish(merge(root), root)
