"""Write a folder of clips as a stream, which ``streaming.reader`` reads.

The files of clips are not changed, and equal clips make equal shards.  A folder is renamed when it
is complete; at a URL the list of the clips comes last, and without it there is no stream.
"""

import io
import json
import shutil
import warnings
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from datasets.clips import Split, clip_name, clip_paths, is_strip, open_clip, split_folders
from datasets.contents import without_path
from datasets.preprocessing.run import Outcome, Report, Shard
from datasets.records import FACE_CROP, read_face_crop, record_path
from datasets.streaming.reader import MANIFEST, Entry, Manifest
from datasets.streaming.storage import INDEX, local_copy, require_litdata, uploader
from media.pictures import frame_paths
from utils.errors import InputError
from utils.files import atomic_folder, naming_errors, require_apart
from utils.locks import sole_writer
from utils.progress import progress_bar

SHARD_BYTES = 2**26
MAX_CLIP_BYTES = 2**31  # litdata counts the bytes of a shard in 32 bits
UNREADABLE = "unreadable"


class Packed(NamedTuple):
    """Clip as an item of a stream."""

    entry: Entry
    head: bytes  # JSON
    data: bytes


class Job(NamedTuple):
    """Clip to pack."""

    path: Path
    split: Split | None
    folder: Path  # of the split


def write_stream(root: Path, output: str, workers: int) -> Report:
    """Write the clips in ``root`` to a folder or URL, and return the report.

    Raises InputError where ``root`` holds no clips or a damaged ``face_crop.json``, or where
    ``output`` is not empty.
    """
    jobs = [
        Job(path, split, folder)
        for split, folder in split_folders(root).items()
        for path in clip_paths(folder)
    ]
    if not jobs:
        raise InputError(f"{root} holds no clips: name a folder with train and test, or of clips.")
    read_face_crop(root)  # a damaged one would stop a training
    require_litdata()
    entries: list[Entry] = []
    outcomes: list[Outcome] = []
    with target(output, root) as (folder, publish), ThreadPoolExecutor(workers) as pool:
        writer = ShardWriter(folder, publish)
        results = in_order(pool, pack, jobs, ahead=workers)
        for (path, split, clips), packed in progress_bar(results, total=len(jobs), unit="clip"):
            if isinstance(packed, InputError):
                reason = without_path(packed, path)
                outcomes.append(Outcome(clip_name(path, clips), split or "", UNREADABLE, reason))
                continue
            writer.add(packed)
            entries.append(packed.entry)
            outcomes.append(Outcome(packed.entry.name, split or ""))
        if not entries:
            raise InputError(f"None of the {len(jobs)} clips in {root} can be read.")
        writer.finish()
        if (root / FACE_CROP).is_file():
            publish(Path(shutil.copy(root / FACE_CROP, folder / FACE_CROP)))
        report = Report.of("stream", {"root": str(root)}, Shard(), outcomes)
        publish(report.write(folder))
        Manifest(clips=tuple(entries)).write_json(folder / MANIFEST)
        publish(folder / MANIFEST)
    return report


def pack(job: Job) -> Packed | InputError:
    """Read a clip as an item of a stream, or return the error of an unreadable one."""
    path, split, folder = job
    try:
        clip = open_clip(path, folder)
        data = zipped(path) if path.is_dir() else path.read_bytes()
        record = record_path(path)
        text = record.read_text() if record.is_file() else None
    except InputError as error:
        return error
    except (OSError, UnicodeDecodeError) as error:
        return InputError(f"{path} cannot be read: {error}.")
    if len(data) > MAX_CLIP_BYTES:
        return InputError(f"{path} has {len(data) / 2**30:.1f} GiB: cut it into clips of seconds.")
    entry = Entry(
        name=clip.name,
        split=split,
        form="frames" if path.is_dir() else "strip" if is_strip(path) else "video",
        ending=".zip" if path.is_dir() else path.suffix,
        num_frames=clip.num_frames,
        size=len(data),
        checksum=zlib.crc32(data),
    )
    known = {"name": clip.name, "split": split, "num_frames": clip.num_frames, "record": text}
    return Packed(entry, json.dumps(known).encode(), data)


def zipped(folder: Path) -> bytes:
    """Zip the frames of a folder in their order, uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for frame in frame_paths(folder):
            archive.writestr(zipfile.ZipInfo(frame.name), frame.read_bytes())  # without a date
    return buffer.getvalue()


class ShardWriter:
    """Writer of litdata's shards, each of which is published when it is full."""

    def __init__(self, folder: Path, publish: Callable[[Path], None]) -> None:
        from litdata.streaming.writer import BinaryWriter

        self.folder, self.publish = folder, publish
        self.writer = BinaryWriter(str(folder), chunk_bytes=SHARD_BYTES)
        self.count = 0

    def add(self, packed: Packed) -> None:
        """Add a clip to the current shard."""
        with warnings.catch_warnings():  # about clips larger than a shard
            warnings.simplefilter("ignore", UserWarning)
            shard = self.writer.add_item(self.count, (packed.head, packed.data))
        self.count += 1
        if shard is not None:
            self.publish(Path(shard))

    def finish(self) -> None:
        """Publish the last shard and the index."""
        for shard in self.writer.done():
            self.publish(Path(shard))
        self.writer.merge()
        self.publish(self.folder / INDEX)


@contextmanager
def target(output: str, root: Path) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Yield a folder to write files into, and a function to call for each complete file.

    Raises InputError where ``output`` is not empty or shares files with ``root``, and OutputError
    where writing fails.
    """
    taken = f"{output} already holds a stream: it is complete, or else name another --output."
    if "://" in output:
        with local_copy(output, MANIFEST) as copy:
            if (copy / MANIFEST).is_file():
                raise InputError(taken)
        with TemporaryDirectory() as folder, naming_errors(output):
            yield Path(folder), uploader(output)
        return
    require_apart(output, root)
    destination = Path(output).resolve()
    if destination.exists() and not destination.is_dir():
        raise InputError(f"{output} is a file: name a folder or a URL.")
    if destination.is_dir() and any(destination.iterdir()):
        if (destination / MANIFEST).is_file():
            raise InputError(taken)
        raise InputError(f"{output} holds something else than a stream: name another --output.")
    with naming_errors(output), locked(destination), atomic_folder(destination) as unfinished:
        yield unfinished, lambda path: None


@contextmanager
def locked(destination: Path) -> Iterator[None]:
    """Let nobody else write this folder meanwhile.  Raises InputError where somebody does."""
    path = destination.with_name(f".{destination.name}.lock")
    with sole_writer(path, busy=f"Another run is writing {destination}: wait for it."):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Job], Packed | InputError],
    jobs: Iterable[Job],
    ahead: int,
) -> Iterator[tuple[Job, Packed | InputError]]:
    """Yield each job with its result, in order; ``ahead`` results may wait."""
    pending: deque[tuple[Job, Future[Packed | InputError]]] = deque()
    for job in jobs:
        pending.append((job, pool.submit(work, job)))
        if len(pending) > ahead:
            first, future = pending.popleft()
            yield first, future.result()
    for first, future in pending:
        yield first, future.result()
