"""Make the web application and serve it until Ctrl-C."""

import asyncio
import logging
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from utils.errors import InputError
from web.api import router
from web.guard import LOCAL_NAMES, Guard
from web.limits import FAULT, Refusal
from web.studio import Studio

STATIC = Path(__file__).parent / "static"
CONNECTIONS = 256  # at once
GRACE = 1  # seconds in which requests may end after Ctrl-C
TOKEN = re.compile(r"[A-Za-z0-9_-]+")  # it stands in an address and in a cookie

logger = logging.getLogger(__name__)


def create_app(studio: Studio, *, token: str | None = None, local: bool = True) -> FastAPI:
    """Make the application of a studio; ``Guard`` explains ``token`` and ``local``."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(studio.sessions.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            studio.close()

    app = FastAPI(
        title="MCNet",
        description="Animate a portrait by a video, a motion, or a camera.",
        docs_url=None,  # they load scripts from other hosts
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
    )
    app.state.studio = studio
    app.include_router(router)

    @app.get("/api", include_in_schema=False)
    def api_page() -> FileResponse:
        return FileResponse(STATIC / "api.html")

    app.mount("/", StaticFiles(directory=STATIC, html=True))
    app.add_middleware(Guard, limits=studio.limits, token=token, local=local)

    @app.exception_handler(Refusal)
    def refused(request: Request, error: Refusal) -> JSONResponse:
        return JSONResponse({"error": error.sentence}, error.status, error.headers)

    @app.exception_handler(InputError)
    def bad_input(request: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    def bad_request(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{place or 'The request'}: {first['msg']}."}, 422)

    @app.exception_handler(HTTPException)
    def failed(request: Request, error: HTTPException) -> JSONResponse:
        sentence = str(error.detail).rstrip(".") + "."
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    def fault(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": FAULT}, 500)

    return app


class Server(uvicorn.Server):
    """Server that tells its address, and at Ctrl-C also ends requests that wait for animations."""

    def __init__(
        self,
        app: FastAPI,
        studio: Studio,
        *,
        host: str,
        port: int,
        certificate: Path | None = None,
        key: Path | None = None,
        address: str = "",
    ) -> None:
        """Serve the application of a studio; ``address`` is what users are to open."""
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="warning",
                lifespan="on",
                server_header=False,
                ws="websockets-sansio",
                ws_max_size=studio.limits.frame_bytes,
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=GRACE,
                timeout_keep_alive=30,
                limit_concurrency=CONNECTIONS,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )
        self.studio, self.address = studio, address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.address:
            logger.info("Open %s in a browser; Ctrl-C ends.", self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.studio.stop()
        await super().shutdown(sockets)


def serve(
    studio: Studio,
    *,
    host: str,
    port: int,
    token: str | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve a studio until a signal comes, and close it.

    Other machines reach it only where ``host`` says so, and with a token, which is made where none
    is given.  Raises InputError where the port is in use, the certificate cannot be used, or a
    token does not fit into an address.
    """
    try:
        if token is not None and not TOKEN.fullmatch(token):
            raise InputError("--token takes letters, digits, - and _, and at least one of them.")
        if key is not None and certificate is None:
            raise InputError("--key is that of a --certificate: give both.")
        local = host in LOCAL_NAMES
        if not local and token is None:
            token = secrets.token_urlsafe(12)
        scheme = "http" if certificate is None else "https"
        shown = f"[{host}]" if ":" in host else host
        address = f"{scheme}://{shown}:{port}/" + (f"?token={token}" if token else "")
        app = create_app(studio, token=token, local=local)
        server = Server(
            app, studio, host=host, port=port, certificate=certificate, key=key, address=address
        )
        try:
            server.config.load()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"--certificate and --key cannot be used: {reason}.") from error
        try:
            server.run()
        except SystemExit as error:  # uvicorn's, which has logged why
            raise InputError(
                f"{host}:{port} cannot be served: choose another --port, or --host."
            ) from error
    finally:
        studio.close()
