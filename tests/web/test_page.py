"""The page in Chromium, with a tiny network and a camera that shows a face."""

import base64
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest

from animation.live import LiveAnimation
from tests.chromium import chromium, serious_faults, write_camera
from tests.datasets.conftest import encode_with_sound
from tests.web.serving import Running, astronaut, clip, portrait_jpeg

LONG = 60_000  # milliseconds, on a machine that does much else

DROP = """([selector, name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    const target = document.querySelector(selector);
    target.dispatchEvent(new DragEvent("drop", {
        dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
PASTE = """([type, data]) => {
    const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "pasted", { type }));
    const event = new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
    document.dispatchEvent(event);
}"""
KEEP_SOCKETS = """() => {
    window.sockets = [];
    const Native = WebSocket;
    window.WebSocket = class extends Native {
        constructor(...args) {
            super(...args);
            sockets.push(this);
        }
    };
}"""
KEEP_STREAMS = """() => {
    window.streams = [];
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await open(wanted);
        streams.push(stream);
        return stream;
    };
}"""
WATCH_DROPS = """() => {
    addEventListener("drop", (event) => { window.isPrevented = event.defaultPrevented; });
}"""
PIXELS = "() => document.getElementById('canvas').toDataURL()"
STAMP = "() => Number(document.getElementById('canvas').dataset.time)"
NOW = "() => performance.now()"


def camera_frames() -> list[np.ndarray]:
    """A face that moves from side to side before a grey wall."""
    frames = []
    for number in range(30):
        frame = np.full((240, 320, 3), 150, np.uint8)
        left = round(40 + 12 * np.sin(2 * np.pi * number / 30))
        frame[10:230, left : left + 220] = astronaut(220)
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    camera = write_camera(tmp_path_factory.mktemp("camera") / "face.mjpeg", camera_frames())
    with chromium(camera) as started:
        yield started


@contextmanager
def opened(browser: Any, url: str) -> Iterator[Any]:
    """The page, whose requests all stay on this machine and which has no fault in its scripts."""
    context = browser.new_context(permissions=["camera"], viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(LONG)
    hosts: set[str | None] = set()
    faults: list[str] = []
    page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
    page.on("websocket", lambda found: hosts.add(urlsplit(found.url).hostname))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "console",
        lambda message: faults.append(message.text) if "Policy" in message.text else None,
    )
    page.goto(url)
    yield page
    context.close()
    assert hosts - {None} == {"127.0.0.1"}  # None: blobs
    assert not faults


@pytest.fixture
def page(browser, server: Running) -> Iterator[Any]:
    with opened(browser, server.url) as page:
        yield page


@pytest.fixture
def plain_page(browser, plain_server: Running) -> Iterator[Any]:
    with opened(browser, plain_server.url) as page:
        yield page


def dropped(page: Any, selector: str, name: str, kind: str, data: bytes) -> None:
    page.evaluate(DROP, [selector, name, kind, base64.b64encode(data).decode()])


def with_portrait(page: Any) -> None:
    dropped(page, "#drop", "me.jpg", "image/jpeg", portrait_jpeg())
    page.wait_for_selector("#faces button[aria-pressed=true]")


def live(page: Any) -> None:
    with_portrait(page)
    page.check("input[value=camera]", force=True)
    page.click("#go")
    page.wait_for_selector("#canvas[data-time]")


def number_in(page: Any, selector: str) -> float:
    return float(page.text_content(selector))


def test_a_portrait_is_dropped_and_its_cut_is_shown(page):
    assert page.is_disabled("#go")
    with_portrait(page)
    assert page.text_content("#faces-text") == "One face was found."
    assert page.evaluate("() => document.getElementById('cut').naturalWidth") > 0
    page.click("#faces button")
    page.check("input[value=camera]", force=True)
    assert page.is_enabled("#go")


def test_a_portrait_is_pasted(page):
    page.evaluate(PASTE, ["image/jpeg", base64.b64encode(portrait_jpeg()).decode()])
    page.wait_for_selector("#faces button")


def test_a_portrait_is_photographed(page):
    page.click("#photograph")
    page.wait_for_selector("#photo-dialog[open]")
    page.wait_for_timeout(500)
    page.click("#shoot")
    page.wait_for_selector("#faces button")
    assert page.evaluate("() => document.getElementById('photo-video').srcObject") is None


def test_the_example_is_chosen_by_the_keyboard(page):
    page.focus("#photograph")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#faces button")
    page.focus("input[value=motion]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#kind-camera")
    assert page.text_content("#go") == "Start the camera"


def test_a_damaged_picture_is_one_sentence(page):
    dropped(page, "#drop", "notes.jpg", "image/jpeg", b"hello")
    page.wait_for_selector("#message:not([hidden])")
    text = page.text_content("#message")
    assert text == "notes.jpg is no picture: give a picture, such as a JPEG or PNG."
    assert not serious_faults(page)


def test_live_frames_arrive_in_order_and_change(page):
    live(page)
    stamps, pictures = [], set()
    for _ in range(12):
        stamps.append(page.evaluate(STAMP))
        pictures.add(page.evaluate(PIXELS))
        page.wait_for_timeout(150)
    assert stamps == sorted(stamps)
    assert stamps[-1] > stamps[0]
    assert len(pictures) > 2
    assert number_in(page, "#rate") > 0
    assert not serious_faults(page)
    page.click("#stop")
    page.wait_for_selector("#live", state="hidden")
    assert page.evaluate("() => document.getElementById('camera').srcObject") is None


def test_the_delay_stays_bounded_while_the_server_is_slow(page, monkeypatch):
    animate = LiveAnimation.animate

    def slow(self, frame, seconds):
        time.sleep(0.3)
        return animate(self, frame, seconds)

    monkeypatch.setattr(LiveAnimation, "animate", slow)
    live(page)
    delays = []
    for _ in range(16):
        page.wait_for_timeout(400)
        delays.append(page.evaluate(NOW) - page.evaluate(STAMP))
    assert np.median(delays[8:]) < 1.5 * np.median(delays[:8]) + 300
    assert max(delays) < 5000
    page.click("#stop")


def test_what_is_seen_is_recorded_and_plays(page, server):
    live(page)
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed=true]")
    page.wait_for_timeout(2000)
    page.click("#record")
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_timeout(500)
    plays(page)
    assert page.get_attribute("#download", "download") == "live.mp4"
    with server.client() as client:
        data = client.get(page.get_attribute("#download", "href")).content
    with av.open(io.BytesIO(data)) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert len(times) > 2
    assert 0.5 < times[-1] < 8
    page.click("#stop")


def test_a_recording_is_kept_where_the_camera_is_stopped(page):
    live(page)
    page.click("#record")
    page.wait_for_timeout(1000)
    page.click("#stop")
    page.wait_for_selector("#result:not([hidden])")
    page.wait_for_selector("#live", state="hidden")
    assert page.is_hidden("#empty")
    plays(page)


def test_an_end_of_the_connection_is_said(page, server):
    live(page)
    session = page.evaluate("() => import('/api.js').then((api) => api.sessionName())")
    server.studio.sessions.end(session)
    page.wait_for_selector("text=This session has ended: reload the page, or begin another.")
    assert page.is_hidden("#live")


def test_a_connection_that_breaks_is_said_and_another_can_begin(page):
    page.evaluate(KEEP_SOCKETS)
    live(page)
    page.evaluate("() => sockets[0].dispatchEvent(new Event('close'))")
    page.wait_for_selector("text=The server does not answer: is it still running?")
    page.click("#go")
    page.wait_for_selector("#live:not([hidden])")
    page.evaluate("() => sockets[0].dispatchEvent(new Event('close'))")  # late, of the former one
    assert page.is_visible("#live")
    assert page.is_hidden("#message")
    page.click("#stop")


def test_the_camera_is_closed_as_often_as_it_was_opened(page):
    page.evaluate(KEEP_STREAMS)
    page.evaluate(
        "() => { for (let i = 0; i < 2; i++) document.querySelector('#photograph').click() }"
    )
    page.wait_for_selector("#photo-dialog[open]")
    page.wait_for_timeout(500)
    page.click("#photo-cancel")
    page.wait_for_timeout(500)
    assert page.evaluate("() => streams.filter((each) => each.active).length") == 0
    assert page.is_hidden("#message")


def test_a_camera_that_is_stopped_before_it_begins_does_not_begin(page):
    with_portrait(page)
    page.check("input[value=camera]", force=True)
    page.evaluate("() => { for (const id of ['go', 'stop']) document.getElementById(id).click() }")
    page.wait_for_selector("#go")
    assert page.is_hidden("#live")
    assert page.evaluate("() => document.getElementById('camera').srcObject") is None


def plays(page: Any) -> None:
    """Wait until the result moves on."""
    until = time.monotonic() + 30
    while page.evaluate("() => document.getElementById('video').currentTime") == 0:
        assert time.monotonic() < until
        page.evaluate("() => document.getElementById('video').play()")
        page.wait_for_timeout(100)


def test_a_file_goes_through_with_its_sound(plain_page, plain_server, tmp_path):
    with_portrait(plain_page)
    plain_page.check("input[value=file]", force=True)
    video = encode_with_sound(tmp_path / "sound.mp4", "aac", seconds=0.5)
    dropped(plain_page, "#drop-video", "sound.mp4", "video/mp4", video.read_bytes())
    plain_page.wait_for_selector("#go:enabled")
    assert "with sound" in plain_page.text_content("#video-text")
    plain_page.check("#panels")
    assert plain_page.is_disabled("#paste")
    plain_page.click("#go")
    plain_page.wait_for_selector("#result:not([hidden])")
    plays(plain_page)
    with plain_server.client() as client:
        result = client.get(plain_page.get_attribute("#download", "href")).content
        motion = client.get(plain_page.get_attribute("#download-motion", "href")).content
    with av.open(io.BytesIO(result)) as found:
        assert found.streams.audio
        assert found.streams.video[0].average_rate == 25
        width, height = found.streams.video[0].width, found.streams.video[0].height
    assert width == 3 * height
    assert not serious_faults(plain_page)

    dropped(plain_page, "#drop-video", "motion.npz", "", motion)
    plain_page.wait_for_selector("text=a saved motion of")
    plain_page.wait_for_selector("#go:enabled")
    plain_page.click("#go")
    plain_page.wait_for_selector("#result:not([hidden])")
    assert plain_page.is_hidden("#download-motion")


def test_an_animation_is_cancelled(plain_page, tmp_path):
    with_portrait(plain_page)
    plain_page.check("input[value=file]", force=True)
    dropped(plain_page, "#drop-video", "long.mp4", "video/mp4", clip(tmp_path, 2000))
    plain_page.wait_for_selector("#go:enabled")
    plain_page.click("#go")
    plain_page.wait_for_selector("#rendering:not([hidden])")
    plain_page.click("#stop")
    plain_page.wait_for_selector("text=The animation was cancelled.")
    assert plain_page.is_visible("#go")
    assert plain_page.is_hidden("#message")


def hold(page: Any, address: str) -> list[Any]:
    """Requests to an address, which wait until they are told to go on."""
    held = []

    def keep(route: Any) -> None:
        held.append(route)

    page.route(address, keep)
    return held


def test_an_animation_is_cancelled_before_the_server_answers_and_keeps_the_focus(
    plain_page, tmp_path
):
    with_portrait(plain_page)
    plain_page.check("input[value=file]", force=True)
    dropped(plain_page, "#drop-video", "long.mp4", "video/mp4", clip(tmp_path, 2000))
    plain_page.wait_for_selector("#go:enabled")
    held = hold(plain_page, "**/api/animate")
    plain_page.focus("#go")
    plain_page.keyboard.press("Enter")
    assert plain_page.evaluate("() => document.activeElement.id") == "stop"
    plain_page.keyboard.press("Enter")
    plain_page.wait_for_timeout(200)
    held[0].continue_()
    plain_page.wait_for_selector("text=The animation was cancelled.")
    assert plain_page.evaluate("() => document.activeElement.id") == "go"


def test_of_two_uploads_the_last_one_counts(plain_page, tmp_path):
    plain_page.check("input[value=file]", force=True)
    held = hold(plain_page, "**/drivings")
    for name in ("first.mp4", "second.mp4"):
        dropped(plain_page, "#drop-video", name, "video/mp4", clip(tmp_path))
        plain_page.wait_for_timeout(200)
    held[1].continue_()
    plain_page.wait_for_selector("text=second.mp4: 0.3 s")
    with suppress(Exception):  # it is cancelled
        held[0].continue_()
    plain_page.wait_for_timeout(500)
    assert plain_page.text_content("#video-text").startswith("second.mp4: 0.3 s")


def test_an_example_that_fails_leaves_no_hint_behind(page):
    page.route("**/example", lambda route: route.fulfill(status=503, json={"error": "Not now."}))
    page.click("#example")
    page.wait_for_selector("text=Not now.")
    assert page.text_content("#tip") == ""


def test_a_file_that_misses_its_place_does_not_leave_the_page(page):
    page.evaluate(WATCH_DROPS)
    dropped(page, "footer", "me.jpg", "image/jpeg", portrait_jpeg())
    assert page.evaluate("() => isPrevented")


def test_the_focus_is_shown_on_one_element(page):
    page.focus(".skip")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.id") == "portrait-file"
    style = "(id) => getComputedStyle(document.querySelector(id)).outlineStyle"
    assert page.evaluate(style, "label[for=portrait-file]") == "solid"
    assert page.evaluate(style, "#photograph") == "none"


@pytest.mark.parametrize("path", ["/", "/api"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_are_accessible_on_phones_and_in_the_dark(browser, server, path, scheme, width):
    viewport = {"width": width, "height": 844}
    context = browser.new_context(viewport=viewport, color_scheme=scheme)
    page = context.new_page()
    page.goto(server.url + path, wait_until="networkidle")
    assert not serious_faults(page)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width
    context.close()


def test_leaving_the_page_ends_its_session(browser, server):
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.url)
    with_portrait(page)
    before = len(server.studio.sessions)
    page.goto("about:blank")
    until = time.monotonic() + 10
    while len(server.studio.sessions) >= before and time.monotonic() < until:
        time.sleep(0.05)
    assert len(server.studio.sessions) == before - 1
    context.close()
