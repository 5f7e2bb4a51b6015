"""Requests of other pages, without the token, or without end are refused."""

import asyncio
import socket
import time
from contextlib import ExitStack

import httpx
import pytest
import websockets
from websockets.asyncio.client import connect

from tests.web.serving import Running, clip, portrait_jpeg, served, tiny_studio
from web.limits import Limits


def status_of_live(server: Running, session: str = "nobody", **headers: str) -> int:
    """The status with which the server refuses a WebSocket; 101 where it does not."""

    async def ask() -> int:
        address = f"{server.live_url}?session={session}"
        try:
            async with connect(address, proxy=None, additional_headers=headers):
                return 101
        except websockets.InvalidStatus as refused:
            return refused.response.status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://[",
        "file://",
        "http://localhost",
    ],
)
def test_requests_of_other_pages_are_refused(server, client, origin):
    answer = client.post("/api/sessions", headers={"Origin": origin})
    assert (answer.status_code, list(answer.json())) == (403, ["error"])
    session = server.session()
    assert client.delete(f"/api/sessions/{session}", headers={"Origin": origin}).status_code == 403
    assert status_of_live(server, session, Origin=origin) == 403


def test_requests_of_its_own_page_and_of_programs_are_answered(server, client):
    assert client.post("/api/sessions", headers={"Origin": server.url}).status_code == 201
    session = server.session()
    assert status_of_live(server, session, Origin=server.url) == 101
    assert status_of_live(server, session) == 101


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "[", ""])
def test_other_names_of_this_machine_are_refused(client, host):
    assert client.get("/", headers={"Host": host}).status_code in (400, 421)


def test_the_page_may_load_from_this_server_alone(client):
    answer = client.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server that other machines reach, with a token."""
    studio = tiny_studio(tmp_path_factory.mktemp("locked"), faces=False)
    with served(studio, token="s3cret", local=False) as running:
        yield running


def test_without_the_token_nothing_is_answered(locked):
    with locked.client() as client:
        for path in ("/", "/api/info", "/api/openapi.json"):
            assert client.get(path).status_code == 401
        assert client.get("/", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/?token=s3cre").status_code == 401
        assert client.get("/", headers={"Cookie": "mcnet_token=no; ="}).status_code == 401
    assert status_of_live(locked) == 401


def test_the_token_opens_in_a_header_or_in_the_address_once(locked):
    with locked.client() as client:
        headers = {"Authorization": "Bearer s3cret"}
        session = client.post("/api/sessions", headers=headers).raise_for_status().json()["session"]
        welcome = client.get("/?token=s3cret")
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        assert "httponly; path=/; samesite=strict" in welcome.headers["set-cookie"].lower()
        assert welcome.headers["cache-control"] == "no-store"
        assert client.get("/api/info").status_code == 200  # by the cookie
    assert status_of_live(locked, session, Authorization="Bearer s3cret") == 101


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A server that accepts little."""
    limits = Limits(
        portrait_bytes=50_000,
        driving_bytes=60_000,
        form_bytes=2_000,
        stored_bytes=200_000,
        stall_seconds=1,
    )
    studio = tiny_studio(tmp_path_factory.mktemp("small"), faces=False, limits=limits)
    with served(studio) as running:
        yield running


def test_large_files_are_refused_with_413(small):
    session = small.session()
    with small.client() as client:
        for place, size in (("portraits", 51_000), ("drivings", 61_000), ("portraits", 10**7)):
            files = {"file": ("big.jpg", b"\xff\xd8\xff" + bytes(size))}
            answer = client.post(f"/api/sessions/{session}/{place}", files=files)
            assert answer.status_code == 413
            assert "too large" in answer.json()["error"]


def raw(server: Running, data: bytes, wait: float = 5) -> bytes:
    """Send bytes and read what comes until the server closes, or for some seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while block := connection.recv(2**16):
                answer += block
        except (TimeoutError, ConnectionResetError):
            pass
    return answer


def test_an_upload_that_stalls_is_ended(small):
    session = small.session()
    head = f"POST /api/sessions/{session}/portraits HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000\r\n\r\n--x\r\n"
    began = time.monotonic()
    assert raw(small, head.encode()).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 5


def test_an_endless_upload_is_ended(small):
    session = small.session()

    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(10_000):
            yield bytes(10_000)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with small.client() as client:
        try:
            answer = client.post(
                f"/api/sessions/{session}/drivings", content=endless(), headers=headers
            )
            assert answer.status_code == 413
        except httpx.TransportError:
            pass  # closed before all was sent
        assert client.get("/api/info").status_code == 200
    assert not list(small.studio.sessions[session].folder.iterdir())


def test_uploads_at_once_are_bounded_together(small):
    """Four of 50 kB wait for their end, and are more than the server stores with a fifth."""
    session = small.session()
    head = f"POST /api/sessions/{session}/drivings HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    head += "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 55000\r\n\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", small.port)))
            connection.sendall(head.encode() + part + bytes(49_000))
        time.sleep(0.2)
        assert raw(small, head.encode() + part + bytes(49_000)).startswith(b"HTTP/1.1 503")
    assert raw(small, head.encode() + part + bytes(100)).startswith(b"HTTP/1.1 408")


def test_an_answer_that_is_not_read_is_ended(small):
    name = small.session()
    session = small.studio.sessions[name]
    path = session.new_path(".mp4")
    path.write_bytes(bytes(30_000_000))
    number = session.recordings.add(path)
    with socket.create_connection(("127.0.0.1", small.port)) as connection:
        address = f"/api/sessions/{name}/recordings/{number}"
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        until = time.monotonic() + 5
        while not session.users:
            assert time.monotonic() < until
            time.sleep(0.01)
        while session.users:
            assert time.monotonic() < until
            time.sleep(0.05)
    path.unlink()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 30_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /api/live?session=x HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: !!\r\n\r\n",
    ],
)
def test_requests_that_are_none_take_nothing_down(small, request_bytes):
    answer = raw(small, request_bytes, wait=2)
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
    with small.client() as client:
        assert client.get("/api/info").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../app.py",
        "/..%2fapp.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/../../app.py",
        "//etc/passwd",
        "/api/motions/..%2f..%2fapp.py.webp",
        "/api/motions/%2e%2e%2fmcnet-lite.webp",
        "/api/sessions/..%2f..%2f/portraits/1.jpg",
        "/api/sessions/%00/jobs/1",
        "/api/sessions/x/recordings/..%2f1",
        "/.git/config",
        "/\\..\\app.py",
    ],
)
def test_no_address_leads_out_of_the_folder(server, path):
    answer = raw(
        server, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 422", b"HTTP/1.1 400")), answer[:200]


def test_limits_of_numbers_have_clear_answers(tmp_path):
    limits = Limits(sessions=3, waiting=0, running=1, waiting_of_session=1)
    with served(tiny_studio(tmp_path, faces=False, limits=limits)) as server:
        names = [server.session() for _ in range(3)]
        files = {"portrait": ("a.jpg", portrait_jpeg()), "driving": ("b.mp4", clip(tmp_path, 3000))}
        with server.client() as client:
            answer = client.post("/api/sessions")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
            for name, status in ((names[0], 202), (names[0], 429), (names[1], 503)):
                answer = client.post("/api/animate", files=files, data={"session": name})
                assert answer.status_code == status, answer.text
