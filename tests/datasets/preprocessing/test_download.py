"""Download with the real yt-dlp from a local server, and with a stand-in for answers of sites."""

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from datasets.preprocessing import download
from datasets.preprocessing.download import DEAD, FAILED, MAX_IN_A_ROW, Downloader, DownloadError
from datasets.preprocessing.raw_videos import find_by_id
from utils.errors import InputError, OutputError

VIDEO = b"".join(number.to_bytes(4, "big") for number in range(100_000))


class Site(ThreadingHTTPServer):
    """A site whose answers follow from the id: a status, ``first503``, ``cut``, ``page``, others.

    ``cut`` breaks off in the middle as long as it is not asked for the rest.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[tuple[str, int]] = []  # ids, and from which byte on
        self.url = f"http://127.0.0.1:{self.server_port}/{{id}}"

    def handle_error(self, *_: object) -> None:
        """Says nothing about connections that yt-dlp breaks off."""


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def do_GET(self) -> None:
        video = self.path.removeprefix("/")
        asked_range = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        start = int(asked_range[1]) if asked_range else 0
        self.server.asked.append((video, start))
        is_first = [name for name, _ in self.server.asked].count(video) == 1
        status = video.removeprefix("first")
        if status.isdecimal() and (is_first or status == video):
            self.send_error(int(status))
            return
        content = b"<html>A text.</html>" if video == "page" else VIDEO
        self.send_response(206 if asked_range else 200)
        self.send_header("Content-Type", "text/html" if video == "page" else "video/mp4")
        self.send_header("Content-Length", str(len(content) - start))
        if asked_range:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if video == "cut" and start == 0:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    pytest.importorskip("yt_dlp")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Site() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """The seconds that the downloader would have slept."""
    seconds: list[float] = []
    clock = SimpleNamespace(sleep=seconds.append, monotonic=lambda: 0.0)
    monkeypatch.setattr(download, "time", clock)
    return seconds


def downloader(folder: Path, url: str, **options) -> Downloader:
    return Downloader(folder, **{"url": url, "pause": 0, "first_wait": 0, "retries": 1, **options})


# Against a server


def test_a_video_is_fetched_whole_and_nothing_else_is_left(tmp_path, site):
    path = downloader(tmp_path, site.url).fetch("-a%(ext)s")
    assert path == tmp_path / "-a%(ext)s.mp4"
    assert site.asked[0] == ("-a%25%28ext%29s", 0)
    assert path.read_bytes() == VIDEO
    assert sorted(tmp_path.rglob("*")) == [path, tmp_path / download.WORK]


def test_a_download_that_breaks_off_goes_on_where_it_broke(tmp_path, site):
    path = downloader(tmp_path, site.url).fetch("cut")
    assert isinstance(path, Path)
    assert path.read_bytes() == VIDEO
    video, start = site.asked[-1]
    assert video == "cut"
    assert 0 < start <= len(VIDEO) // 2


def test_what_an_earlier_run_has_begun_is_no_video_and_is_completed(tmp_path, site):
    result = downloader(tmp_path, site.url, retries=0).fetch("cut")
    assert result.kind == FAILED
    assert find_by_id(tmp_path) == {}
    assert downloader(tmp_path, site.url, retries=0).fetch("cut") == tmp_path / "cut.mp4"
    assert (tmp_path / "cut.mp4").read_bytes() == VIDEO
    assert site.asked[-1][1] > 0


@pytest.mark.parametrize("video", ["404", "410", "page"])
def test_a_dead_video_is_asked_for_once_and_the_next_is_fetched(tmp_path, site, video):
    fetcher = downloader(tmp_path, site.url, retries=5)
    result = fetcher.fetch(video)
    assert result.kind == DEAD
    assert len(set(site.asked)) == 1
    assert len(site.asked) <= 2  # yt-dlp asks once more for a page than for an error
    assert "\n" not in result.reason
    assert ("Unsupported URL" if video == "page" else f"HTTP Error {video}") in result.reason
    assert isinstance(fetcher.fetch("next"), Path)


@pytest.mark.parametrize("video", ["429", "503", "403"])
def test_retries_are_bounded_and_wait_longer_each_time(tmp_path, site, slept, video):
    result = downloader(tmp_path, site.url, retries=4, first_wait=3).fetch(video)
    assert result.kind == FAILED
    assert result.reason.startswith(f"Unable to download webpage: HTTP Error {video}: ")
    assert len(site.asked) == 5
    assert slept == [3, 6, 12, 24]


@pytest.mark.parametrize("video", ["first429", "first503"])
def test_a_site_that_answers_later_gives_the_video(tmp_path, site, slept, video):
    path = downloader(tmp_path, site.url, first_wait=3).fetch(video)
    assert path == tmp_path / f"{video}.mp4"
    assert slept == [3]


def test_a_site_that_cannot_be_reached_is_left_alone_after_a_few(tmp_path, site, slept):
    fetcher = downloader(tmp_path, site.url)
    fetcher.url = "http://127.0.0.1:1/{id}"
    results = [fetcher.fetch(str(number)) for number in range(MAX_IN_A_ROW - 1)]
    fetcher.url = site.url
    fetcher.fetch("404")  # the site has answered
    fetcher.url = "http://127.0.0.1:1/{id}"
    results += [fetcher.fetch(str(number)) for number in range(MAX_IN_A_ROW)]
    assert all(result.kind == FAILED for result in results)
    assert not any("not tried" in result.reason for result in results)
    fetcher.url = site.url
    assert "not tried" in fetcher.fetch("video").reason


def test_the_rate_is_limited(tmp_path, site):
    start = time.monotonic()
    assert isinstance(downloader(tmp_path, site.url, rate_limit=len(VIDEO)).fetch("video"), Path)
    assert time.monotonic() - start > 0.8


def test_a_pause_stands_between_videos_and_not_before_the_first(tmp_path, site, slept):
    fetcher = downloader(tmp_path, site.url, pause=7)
    for video in ("404", "video", "other"):
        fetcher.fetch(video)
    assert slept == [7, 7]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_stops_everything(tmp_path, site):
    fetcher = downloader(tmp_path, site.url)
    (fetcher.work / "video").mkdir()
    os.symlink("/dev/full", fetcher.work / "video" / "video.mp4.part")
    with pytest.raises(OutputError, match="No space left on device"):
        fetcher.fetch("video")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path, site):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        downloader(tmp_path / "file", site.url)


# What sites say, by a stand-in for yt-dlp


class Refused(Exception):
    """Stand-in for yt-dlp's DownloadError, raised for another error."""

    def __init__(self, text: str, **origin: object) -> None:
        super().__init__(f"\x1b[0;31mERROR:\x1b[0m [youtube] abc: {text}")
        cause = Exception(text)
        cause.__dict__.update(origin)
        self.exc_info = (Exception, cause, None)


@pytest.fixture
def say(monkeypatch, tmp_path) -> Callable[[object], Path | DownloadError]:
    """Fetch a video for which yt-dlp raises or returns an answer."""

    def fetch(answer: object) -> Path | DownloadError:
        class Session:
            def __init__(self, options: dict[str, object]) -> None: ...

            def __enter__(self) -> "Session":
                return self

            def __exit__(self, *_: object) -> None: ...

            def extract_info(self, url: str) -> object:
                assert url == "https://www.youtube.com/watch?v=abc"
                if isinstance(answer, BaseException):
                    raise answer
                return answer

        monkeypatch.setitem(sys.modules, "yt_dlp", SimpleNamespace(YoutubeDL=Session))
        return Downloader(tmp_path, first_wait=0, pause=0).fetch("abc")

    return fetch


def test_the_words_of_the_site_are_the_reason(say):
    text = "Private video. Sign in if\n  you've been granted access"
    assert say(Refused(text, expected=True)) == DownloadError(DEAD, " ".join(text.split()))


def test_long_words_are_shortened(say):
    reason = say(Refused("gone " * 200, expected=True)).reason
    assert len(reason) <= 200
    assert reason.endswith("gone...")


@pytest.mark.parametrize(
    "answer",
    [
        Refused("Sign in to confirm you're not a bot", expected=True),
        Refused("This content isn't available, try again later", expected=True),
        Refused("Unable to extract the player; please report this issue on ..."),
        Refused("The network is down", expected=True, cause=Exception("timed out")),
        Refused("HTTP Error 500", expected=True, cause=SimpleNamespace(status=500)),
        KeyError("a mistake of yt-dlp's"),
    ],
)
def test_what_says_nothing_about_the_video_does_not_make_it_dead(say, answer):
    result = say(answer)
    assert result.kind == FAILED
    assert "please report" not in result.reason


@pytest.mark.parametrize("answer", [None, {}, {"requested_downloads": []}])
def test_a_page_without_a_video_is_dead(say, answer):
    assert say(answer) == DownloadError(DEAD, "the site gives no video for it")


@pytest.mark.parametrize(("ending", "kept"), [(".webm", ".webm"), (".unknown_video", ".mp4")])
def test_a_fetched_file_has_an_ending_by_which_it_is_found(say, tmp_path, ending, kept):
    (tmp_path / f"fetched{ending}").write_bytes(VIDEO)
    path = say({"requested_downloads": [{"filepath": str(tmp_path / f"fetched{ending}")}]})
    assert path == tmp_path / f"abc{kept}"
    assert find_by_id(tmp_path)["abc"] == path


def test_a_disk_that_is_read_only_stops_everything(say, tmp_path):
    error = Refused("unable to write data")
    error.exc_info = (OSError, OSError(errno.EROFS, "Read-only file system"), None)
    with pytest.raises(OutputError, match="Read-only file system"):
        say(error)


def test_an_interrupt_is_no_failed_download(say):
    with pytest.raises(KeyboardInterrupt):
        say(KeyboardInterrupt())


def test_without_yt_dlp_the_download_is_refused_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(InputError, match="pip install yt-dlp, or leave out --download"):
        Downloader(tmp_path / "videos")
    assert not (tmp_path / "videos").exists()
