"""Download the missing videos of a metadata table with yt-dlp, where that is installed.

Most failures are videos that no longer exist, which says nothing about the next video.  Others are
tried again after growing waits; when video after video fails, the site is left alone.
"""

import errno
import logging
import os
import re
import shutil
import textwrap
import time
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from media.file_kinds import VIDEO_SUFFIXES
from utils.errors import InputError, OutputError
from utils.files import flush, make_folder, naming_errors

logger = logging.getLogger(__name__)

DEAD, FAILED = "dead video", "download failed"  # reasons in reports
YOUTUBE = "https://www.youtube.com/watch?v={id}"
WORK = ".downloads"  # folder of unfinished files, in the folder of the videos
GONE = (401, 404, 410, 451)  # status codes that another attempt does not change
REFUSALS = ("not a bot", "try again later")  # YouTube's answers to too many requests
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
MAX_IN_A_ROW = 5  # failures of one video after the other, until the site is left alone
MAX_HEIGHT = 1080  # pixels: of higher videos a smaller version is downloaded
MAX_TEXT = 200  # characters of a site's message


class DownloadError(NamedTuple):
    """Reason why a video could not be downloaded."""

    kind: str  # DEAD: the site no longer has it; FAILED: another run may get it
    reason: str  # message of the site, on one line


class Downloader:
    """Download videos by their ids into a folder, one at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        rate_limit: float | None = None,  # bytes a second
        retries: int = 3,
        pause: float = 2.0,  # seconds between two videos
        first_wait: float = 10.0,  # seconds before the first retry, twice as many before each next
        url: str = YOUTUBE,
    ) -> None:
        """Make ``folder``.  Raises InputError where that fails, or yt-dlp is not installed."""
        self.folder, self.work, self.url = folder, folder / WORK, url
        self.rate_limit, self.retries = rate_limit, retries
        self.pause, self.first_wait = pause, first_wait
        self.failed_in_a_row = 0
        self.last_end: float | None = None  # of a download, in seconds of the monotonic clock
        load_yt_dlp()
        make_folder(self.work)

    def fetch(self, video: str) -> Path | DownloadError:
        """Download a video to its place in the folder, or return the reason why there is none.

        An unfinished file is completed.  Raises OutputError where nothing can be written.
        """
        if self.failed_in_a_row >= MAX_IN_A_ROW:
            return DownloadError(FAILED, f"not tried, after {MAX_IN_A_ROW} that failed in a row")
        if self.last_end is not None:
            time.sleep(max(self.last_end + self.pause - time.monotonic(), 0))
        result = self._with_retries(video)
        self.last_end = time.monotonic()
        has_failed = isinstance(result, DownloadError) and result.kind == FAILED
        self.failed_in_a_row = self.failed_in_a_row + 1 if has_failed else 0
        if self.failed_in_a_row == MAX_IN_A_ROW and isinstance(result, DownloadError):
            logger.warning("Nothing more is downloaded; the last failure: %s", result.reason)
        return result

    def _with_retries(self, video: str) -> Path | DownloadError:
        waits = [self.first_wait * 2**number for number in range(self.retries)]
        while True:
            try:
                file = self._attempt(video)
                break
            except Exception as error:  # yt-dlp's code for a site may raise anything
                origin = origin_of(error)
                if isinstance(origin, OSError) and origin.errno in DISK_ERRORS:
                    problem = f"{self.work} cannot be written: {origin.strerror}."
                    raise OutputError(problem) from error
                if is_final(origin):
                    shutil.rmtree(self.work / video, ignore_errors=True)
                    return DownloadError(DEAD, one_line(str(error)))
                if not waits:
                    return DownloadError(FAILED, one_line(str(error)))
                logger.debug("Again in %g s: %s: %s", waits[0], video, error)
                time.sleep(waits.pop(0))
        return file if isinstance(file, DownloadError) else self._put_in_place(file, video)

    def _attempt(self, video: str) -> Path | DownloadError:
        """Download a complete file into the work folder.  Raises YoutubeDLError and others."""
        with load_yt_dlp().YoutubeDL(self._options(video)) as session:
            info = session.extract_info(self.url.replace("{id}", quote(video, safe="")))
        files = [item["filepath"] for item in (info or {}).get("requested_downloads") or []]
        return Path(files[0]) if files else DownloadError(DEAD, "the site gives no video for it")

    def _put_in_place(self, file: Path, video: str) -> Path:
        # Readers go by the content
        ending = file.suffix if file.suffix in VIDEO_SUFFIXES else ".mp4"
        place = self.folder / f"{video}{ending}"
        with naming_errors(place):
            flush(file)
            os.replace(file, place)
        shutil.rmtree(self.work / video, ignore_errors=True)
        return place

    def _options(self, video: str) -> dict[str, object]:
        """Make the options of yt-dlp: no sound, so that nothing needs to be joined."""
        name = video.replace("%", "%%")
        return {
            "format": "bestvideo*/best",
            "format_sort": [f"res:{MAX_HEIGHT}", "vcodec:h264"],
            "outtmpl": str(self.work).replace("%", "%%") + f"/{name}/{name}.%(ext)s",
            "ratelimit": self.rate_limit,
            "retries": 0,  # retries here begin anew, with addresses that are not outdated
            "extractor_retries": 0,
            "fragment_retries": self.retries,
            "retry_sleep_functions": {"fragment": lambda n: self.first_wait * 2**n},
            "skip_unavailable_fragments": False,  # else the video would have gaps
            "socket_timeout": 30,
            "playlist_items": "1",
            "noplaylist": True,
            "fixup": "never",
            "updatetime": False,
            "cachedir": False,
            "noprogress": True,
            "no_warnings": True,
            "no_color": True,
            "logger": _ToDebug(),
        }


def load_yt_dlp() -> Any:
    """Import yt-dlp.  Raises InputError where it is not installed."""
    try:
        return import_module("yt_dlp")
    except ImportError as error:
        raise InputError(
            "Missing videos are downloaded with yt-dlp, which is not installed: pip install "
            "yt-dlp, or leave out --download."
        ) from error


def origin_of(error: BaseException) -> BaseException:
    """Return the error for which yt-dlp raised its own."""
    info = getattr(error, "exc_info", None)
    if info and info[1] is not None:
        return info[1]
    return error.__context__ if isinstance(error.__context__, OSError) else error


def is_final(origin: BaseException) -> bool:
    """Whether the site has answered that the video is not available."""
    cause: Any = origin
    while cause is not None:
        if isinstance(status := getattr(cause, "status", None), int):
            return status in GONE
        last, cause = cause, getattr(cause, "cause", None)
    is_answer = last is origin and getattr(origin, "expected", False)
    return is_answer and not any(words in str(origin) for words in REFUSALS)


def one_line(text: str) -> str:
    """Shorten the message of a site to one line, without yt-dlp's colours, prefixes and advice."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).removeprefix("ERROR: ")
    text = re.sub(r"^\[[^]]+\] (?:[^ ]+: )?", "", text)  # the site, and the id
    text = re.sub(r"; please report this issue.*| \(caused by .*", "", text, flags=re.DOTALL)
    return textwrap.shorten(text, MAX_TEXT, placeholder="...")


class _ToDebug:
    """Logger that sends the messages of yt-dlp to the log of --debug; errors are raised as well."""

    def debug(self, message: str) -> None:
        logger.debug("%s", message)

    warning = error = debug
