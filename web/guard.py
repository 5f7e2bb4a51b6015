"""Guard a server against other pages, other people and endless requests.

A page of another site could send requests to this machine from its user's browser: requests that
change something, and WebSockets, must come from our own page (``Origin``) or from a program, which
states none.  A site whose name leads to 127.0.0.1 is told by the name in ``Host``.
"""

import asyncio
import json
import secrets
import time
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.limits import Limits, Refusal, too_large

LOCAL_NAMES = {"127.0.0.1", "localhost", "::1"}
SAFE = {"GET", "HEAD", "OPTIONS"}
COOKIE = "mcnet_token"
POLICY = (  # of what the page may load: from this server alone
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """Middleware that refuses what does not come from the page or from a program with the token."""

    def __init__(self, app: ASGIApp, *, limits: Limits, token: str | None, local: bool) -> None:
        """A ``local`` server is reached by the names of this machine alone."""
        self.app, self.limits, self.token, self.local = app, limits, token, local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        refusal = self.refusal(scope, headers, given)
        if refusal is not None:
            await refuse(refusal, scope, receive, send)
        elif self.token and given and scope["type"] == "http" and scope["path"] == "/":
            await self.welcome(scope, send)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        else:
            limit = self.limit(scope["method"], scope["path"])
            counted = CountedBody(receive, headers, limit, self.limits)
            await self.app(scope, counted, with_headers(send))

    def refusal(self, scope: Scope, headers: dict[str, str], given: str) -> Refusal | None:
        """Return why a request is refused; None where it is not."""
        host = headers.get("host", "")
        if self.local and name_of(host) not in LOCAL_NAMES:
            return Refusal(421, "This server answers on this machine alone: open 127.0.0.1.")
        origin = headers.get("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        if changes and origin is not None and not is_same_site(origin, host):
            return Refusal(403, "This request comes from a page of another site.")
        if self.token and not any(
            secrets.compare_digest(each.encode(), self.token.encode())
            for each in (given, bearer(headers), cookie(headers))
        ):
            return Refusal(401, "This server wants its token: open the address that it printed.")
        return None

    def limit(self, method: str, path: str) -> int:
        """Most bytes of the body of a request."""
        if path.endswith("/portraits"):
            return self.limits.portrait_bytes
        if path.endswith("/drivings"):
            return self.limits.driving_bytes
        if path == "/api/animate":
            return self.limits.portrait_bytes + self.limits.driving_bytes
        return self.limits.form_bytes

    async def welcome(self, scope: Scope, send: Send) -> None:
        """Keep the token in a cookie, and take it out of the address."""
        secure = "; Secure" if scope["scheme"] == "https" else ""
        kept = f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict{secure}"
        headers = [(b"location", b"/"), (b"set-cookie", kept.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


class CountedBody:
    """Body of a request, which must end in time and within a number of bytes."""

    def __init__(
        self, receive: Receive, headers: dict[str, str], limit: int, limits: Limits
    ) -> None:
        self._receive, self._limit = receive, limit
        self._stall, self._until = limits.stall_seconds, time.monotonic() + limits.upload_seconds
        stated = headers.get("content-length", "0")
        self._num_bytes = 0
        self._is_over = stated.isdecimal() and int(stated) > limit
        self._is_complete = False

    async def __call__(self) -> Message:
        if self._is_complete:  # waits for the end of the connection alone
            return await self._receive()
        if self._is_over:
            raise as_http(too_large("What you send", self._limit))
        left = min(self._stall, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.01))
        except asyncio.TimeoutError as error:
            raise as_http(Refusal(408, "The upload took too long: try again.")) from error
        self._num_bytes += len(message.get("body", b""))
        self._is_over = self._num_bytes > self._limit
        if self._is_over:
            raise as_http(too_large("What you send", self._limit))
        self._is_complete = not message.get("more_body", False)
        return message


def as_http(refusal: Refusal) -> HTTPException:
    """Convert a refusal to the exception that the parsers of forms let pass."""
    headers = {**refusal.headers, "Connection": "close"}  # the rest of the body is not read
    return HTTPException(refusal.status, refusal.sentence, headers=headers)


def with_headers(send: Send) -> Send:
    """Add the headers that bind the page to this server."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.decode("latin-1").lower() for name, _ in message["headers"]}
            added = [
                (name.encode(), value.encode())
                for name, value in HEADERS.items()
                if name not in own
            ]
            if "cache-control" not in own:
                added.append((b"cache-control", b"no-store"))
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return wrapped


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the request for a WebSocket, with a refusal."""
    body = json.dumps({"error": refusal.sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *((name.lower().encode(), value.encode()) for name, value in refusal.headers.items()),
    ]
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        kind = "websocket.http.response"
    start = {"type": f"{kind}.start", "status": refusal.status, "headers": headers}
    await (send if scope["type"] == "websocket" else with_headers(send))(start)
    await send({"type": f"{kind}.body", "body": body})


def name_of(host: str) -> str:
    """Name or number of a machine in a ``Host`` header, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_same_site(origin: str, host: str) -> bool:
    """Tell whether an ``Origin`` is that of this server's own page."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def bearer(headers: dict[str, str]) -> str:
    """Token of an ``Authorization: Bearer`` header; empty where there is none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def cookie(headers: dict[str, str]) -> str:
    """Token in a cookie; empty where there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
