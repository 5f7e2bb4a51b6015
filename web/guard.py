"""Guard a server against other pages, other people and endless requests.

A page of another site could send requests to this machine from its user's browser: requests that
change something, and WebSockets, must come from our own page (``Origin``) or from a program, which
states none.  A site whose name leads to 127.0.0.1 is told by the name in ``Host``.
"""

import asyncio
import logging
import secrets
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.limits import Limits, Refusal, no_room, too_large

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
    "cache-control": "no-store",
}

logger = logging.getLogger(__name__)


class Guard:
    """Middleware that refuses what does not come from the page or from a program with the token."""

    def __init__(self, app: ASGIApp, *, limits: Limits, token: str | None, local: bool) -> None:
        """A ``local`` server is reached by the names of this machine alone."""
        self.app, self.limits, self.token, self.local = app, limits, token, local
        self.bodies: set[CountedBody] = set()  # of the requests in progress

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        client = HTTPConnection(scope)
        given = client.query_params.get("token", "")
        refusal = self.refusal(client, given)
        if refusal is not None:
            await refused(refusal)(scope, receive, self.answered(send))
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif self.token and given and scope["path"] == "/":
            await self.welcome(scope)(scope, receive, self.answered(send))
        else:
            await self.serve(scope, receive, send)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, whose body is counted, and leave it where nobody reads the answer."""
        body = CountedBody(
            receive, Headers(scope=scope), self.limit(scope["path"]), self.limits, self.bodies
        )
        self.bodies.add(body)
        try:
            await self.app(scope, body, self.answered(send))
        except Stalled:
            logger.info("A client does not read its answer: the connection is ended.")
        finally:
            self.bodies.remove(body)

    def refusal(self, client: HTTPConnection, given: str) -> Refusal | None:
        """Return why a request is refused; None where it is not."""
        host, origin = client.headers.get("host", ""), client.headers.get("origin")
        if self.local and name_of(host) not in LOCAL_NAMES:
            return Refusal(421, "This server answers on this machine alone: open 127.0.0.1.")
        changes = client.scope["type"] == "websocket" or client.scope["method"] not in SAFE
        if changes and origin is not None and not is_same_site(origin, host):
            return Refusal(403, "This request comes from a page of another site.")
        if self.token and not any(
            secrets.compare_digest(each.encode(), self.token.encode())
            for each in (given, bearer(client.headers), client.cookies.get(COOKIE, ""))
        ):
            return Refusal(401, "This server wants its token: open the address that it printed.")
        return None

    def limit(self, path: str) -> int:
        """Most bytes of the body of a request."""
        if path.endswith("/portraits"):
            return self.limits.portrait_bytes
        if path.endswith("/drivings"):
            return self.limits.driving_bytes
        if path == "/api/animate":
            return self.limits.portrait_bytes + self.limits.driving_bytes
        return self.limits.form_bytes

    def welcome(self, scope: Scope) -> Response:
        """Keep the token in a cookie, and take it out of the address."""
        assert self.token is not None
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, self.token, httponly=True, samesite="strict", secure=scope["scheme"] == "https"
        )
        return answer

    def answered(self, send: Send) -> Send:
        """Add the headers that bind the page to this server; raise Stalled for a stuck client."""

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            try:
                await asyncio.wait_for(send(message), self.limits.stall_seconds)
            except asyncio.TimeoutError as error:
                raise Stalled from error

        return wrapped


class Stalled(Exception):
    """End of an answer that its client does not read."""


class CountedBody:
    """Body of a request, which must end in time and within a number of bytes."""

    def __init__(
        self,
        receive: Receive,
        headers: Headers,
        limit: int,
        limits: Limits,
        others: "set[CountedBody]",
    ) -> None:
        """Accept ``limit`` bytes, and all ``others`` together as much as the server stores."""
        self._receive, self._limit, self._limits, self._others = receive, limit, limits, others
        self._until = time.monotonic() + limits.upload_seconds
        stated = headers.get("content-length", "0")
        self.num_bytes = 0
        self._is_over = stated.isdecimal() and int(stated) > limit
        self._is_complete = False

    async def __call__(self) -> Message:
        if self._is_complete:  # waits for the end of the connection alone
            return await self._receive()
        if self._is_over:
            raise as_http(too_large("What you send", self._limit))
        left = min(self._limits.stall_seconds, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.01))
        except asyncio.TimeoutError as error:
            raise as_http(Refusal(408, "The upload took too long: try again.")) from error
        self.num_bytes += len(message.get("body", b""))
        self._is_over = self.num_bytes > self._limit
        if self._is_over:
            raise as_http(too_large("What you send", self._limit))
        if sum(each.num_bytes for each in self._others) > self._limits.stored_bytes:
            raise as_http(no_room())
        self._is_complete = not message.get("more_body", False)
        return message


def as_http(refusal: Refusal) -> HTTPException:
    """Convert a refusal to the exception that the parsers of forms let pass."""
    headers = {**refusal.headers, "Connection": "close"}  # the rest of the body is not read
    return HTTPException(refusal.status, refusal.sentence, headers=headers)


def refused(refusal: Refusal) -> JSONResponse:
    """Answer a request, or the request for a WebSocket, with a refusal, whose body is not read."""
    headers = {**refusal.headers, "Connection": "close"}
    return JSONResponse({"error": refusal.sentence}, refusal.status, headers)


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


def bearer(headers: Headers) -> str:
    """Token of an ``Authorization: Bearer`` header; empty where there is none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
