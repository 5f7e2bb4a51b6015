"""Access the storage of a stream: a folder, or a URL of litdata (s3://, gs://, r2://).

Credentials and endpoints come from the environment: AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock

from utils.errors import InputError

SWITCHES = {
    "LITDATA_DISABLE_VERSION_CHECK": "1",  # otherwise it asks PyPI for a newer version
    "LITDATA_BATCH_DECODE": "0",  # read the one item that is asked for, not its neighbours
}
INDEX = "index.json"  # of litdata: lists the shards and their items
UNUSED = "100GB"  # of whole shards, none of which is fetched; without it litdata logs its own
ATTEMPTS = 6  # to reach S3; litdata's own 1000 would report a mistyped address after days
PATIENCE = 10  # seconds for a connection
VERBOSE = ("litdata", "boto3", "botocore", "s3transfer", "urllib3")


class StreamError(InputError):
    """Failure to reach a stream, which holds for all of its clips."""


def require_litdata() -> None:
    """Set litdata up.  Raises InputError where it is not installed."""
    for name, value in SWITCHES.items():
        os.environ.setdefault(name, value)
    for library in VERBOSE:
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        import litdata  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"A stream needs the package litdata ({error}): pip install -r requirements-stream.txt."
        ) from error


def open_items(root: Path | str, cache: Path) -> Any:
    """Open the items of a stream by number; ``cache`` keeps the index of a stream at a URL.

    From a URL a single item is read, not its whole shard.  Raises StreamError.
    """
    require_litdata()
    from litdata import StreamingDataset

    if isinstance(root, Path):
        try:
            return StreamingDataset(root, max_cache_size=UNUSED)
        except Exception as error:  # litdata has no error of its own for a damaged index
            raise StreamError(
                f"{root} is damaged where its {INDEX} is: write the stream again."
            ) from error
    with stream_errors(join(root, INDEX)):
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".lock"):  # the first process fetches the index
            return StreamingDataset(root, cache_dir=str(cache), max_cache_size=UNUSED)


@contextmanager
def local_copy(root: Path | str, *names: str) -> Iterator[Path]:
    """Yield a folder with some files of ``root``, if they exist: the root or a temporary one."""
    if isinstance(root, Path):
        yield root
        return
    with TemporaryDirectory() as folder:
        for name in names:
            url = join(root, name)
            with stream_errors(url):
                provider = _provider(url)
                if provider.exists(url):
                    provider.download_file(url, str(Path(folder) / name))
        yield Path(folder)


def uploader(root: str) -> Callable[[Path], None]:
    """Make a function that uploads a file to a URL and then deletes it here."""

    def upload(path: Path) -> None:
        url = join(root, path.name)
        with stream_errors(url):
            _provider(url).upload_file(str(path), url)
        path.unlink()

    return upload


@contextmanager
def stream_errors(url: str) -> Iterator[None]:
    """Turn every error into a StreamError: each provider has its own errors."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StreamError(f"{url} cannot be reached ({reason}): check it and try again.") from error


def join(root: str, name: str) -> str:
    return f"{root.rstrip('/')}/{name}"


def _provider(url: str) -> Any:
    require_litdata()
    from litdata.streaming.fs_provider import _get_fs_provider

    options = {}
    if url.startswith("s3://"):
        from botocore.config import Config

        retries = {"max_attempts": ATTEMPTS, "mode": "standard"}
        options = {"config": Config(connect_timeout=PATIENCE, retries=retries)}
    return _get_fs_provider(url, options)
