"""The HTTP API, and the page, which uses only the API."""

import contextlib
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from auricle.captioning.captioner import load
from auricle.serving import routes, state
from auricle.serving.description import TAGS
from auricle.serving.guard import Guard
from auricle.serving.limits import Limits, RequestRefusedError
from auricle.serving.listening import Microphone
from auricle.serving.metrics import Metrics
from auricle.serving.page_files import EXAMPLES, PageFiles
from auricle.serving.shared import Served
from auricle.serving.stopping import Stopping
from auricle.serving.tokens import DeviceTokens
from auricle.serving.uploads import Uploads, upload_folder
from auricle.serving.workers import Workers


def make_app(
    checkpoint: Path | None = None,
    limits: Limits | None = None,
    *,
    token: str | None = None,
    devices: DeviceTokens | None = None,
    names: tuple[str, ...] = (),
    microphone: Microphone | None = None,
) -> Guard:
    """Return the server, for an ASGI server to run in one process.

    Args:
        checkpoint: the folder to caption with; the embedded model if None.
        limits: of requests.
        token: that requests must carry; None: nothing.
        devices: whose tokens are accepted too.
        names: further names that the server accepts; the names and addresses of the machine, and
            `localhost`, are always accepted.
        microphone: the server's own, for clients without one.

    Raises:
        AuricleError: the folder is not a checkpoint.
    """
    bounds, metrics, captioner = limits or Limits(), Metrics(), load(checkpoint)
    stopping = Stopping()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        workers = Workers(checkpoint, bounds, metrics, stopping)
        with upload_folder() as folder:
            try:
                await workers.start()
                uploads = Uploads(folder, bounds, stopping)
                app.state.served = Served(
                    bounds, metrics, captioner, workers, uploads, guard, microphone
                )
                yield
            finally:
                await workers.close()

    app = _api(lifespan)
    guard = Guard(
        app, token=token, devices=devices, names=names, metrics=metrics, stopping=stopping
    )
    return guard


def _api(lifespan: Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]) -> FastAPI:
    """Return the app: its routes, the page, and the handlers of errors."""
    app = FastAPI(
        title="auricle",
        version=version("auricle"),
        summary="Automated audio captioning: a sound goes in, a sentence comes out.",
        lifespan=lifespan,
        openapi_tags=TAGS,
        redirect_slashes=False,
        docs_url=None,  # they would fetch scripts from elsewhere
        redoc_url=None,
        exception_handlers={
            RequestRefusedError: _refused,
            RequestValidationError: _invalid,
            HTTPException: _failed,
            Exception: _broken,
        },
    )
    app.include_router(routes.sound_router)
    app.include_router(routes.socket_router)
    app.include_router(state.server_router)
    app.mount("/examples", StaticFiles(directory=EXAMPLES))
    app.router.routes.append(PageFiles({*app.openapi()["paths"], app.openapi_url}))
    return app


async def _refused(_: Request, error: Exception) -> Response:
    refusal = cast("RequestRefusedError", error)
    headers = {"retry-after": str(refusal.retry_after)} if refusal.retry_after else None
    return JSONResponse({"error": str(refusal), **refusal.details}, refusal.status, headers)


async def _invalid(_: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"error": f"the body is not JSON: {first['ctx']['error']}"}, 400)
    return JSONResponse({"error": f"{first['loc'][-1]}: {first['msg']}"}, 422)


async def _failed(request: Request, error: Exception) -> Response:
    """Answer an error of a path, a method or a body as JSON."""
    failure = cast("HTTPException", error)
    headers = dict(failure.headers or {})
    if failure.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = request.app.openapi()["paths"].get(request.url.path, {"get": {}, "head": {}})
        headers["allow"] = ", ".join(sorted(method.upper() for method in methods))
    return JSONResponse({"error": failure.detail}, failure.status_code, headers)


async def _broken(_: Request, error: Exception) -> Response:  # noqa: ARG001 (the server logs it)
    return JSONResponse({"error": "the server failed; its log says why"}, 500)
