"""The routes that tell about the server: limits, health, readiness and counters."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from auricle.serving import schemas
from auricle.serving.description import METRICS_ANSWERS, Area, failures
from auricle.serving.page_files import EXAMPLES
from auricle.serving.shared import Known, Shared, Token

server_router = APIRouter(dependencies=[Known], tags=[Area.server])


def get_and_head(
    router: APIRouter, path: str, operation: str, **options: Any
) -> Callable[[Any], Any]:
    """Add a route for GET, and one for HEAD that answers the same headers without a body."""

    def add(endpoint: Any) -> Any:
        router.get(path, operation_id=f"get_{operation}", **options)(endpoint)
        head = options | {"response_model": None, "response_class": Response}
        head["responses"] = {
            status: {k: v for k, v in described.items() if k not in ("model", "content")}
            for status, described in options["responses"].items()
        }
        return router.head(path, operation_id=f"head_{operation}", **head)(endpoint)

    return add


def json_answer(answer: BaseModel) -> Response:
    """Return an answer as JSON; HEAD gets its headers alone."""
    return Response(answer.model_dump_json(), media_type="application/json")


@get_and_head(
    server_router,
    "/v1/info",
    "info",
    summary="The version, the model and the limits of this server",
    response_model=schemas.Info,
    responses=failures(401, 421, 422, 503),
    dependencies=[Token],
)
async def info(served: Shared) -> Response:
    """Return everything that a client may need before it sends a sound."""
    captioner, limits = served.captioner, served.limits
    found = schemas.Info(
        version=version("auricle"),
        licence=captioner.checkpoint.config.licence,
        rate=captioner.rate,
        longest=captioner.longest,
        upload=limits.upload,
        seconds=limits.seconds,
        microphone=served.microphone is not None,
        examples=sorted(path.name for path in EXAMPLES.glob("*.wav")),
    )
    return json_answer(found)


@get_and_head(
    server_router,
    "/healthz",
    "health",
    summary="Whether the server runs",
    response_model=schemas.ServerState,
    responses=failures(421, 422, 503),
)
async def healthz() -> Response:
    """Answer as long as the server runs, with or without workers: for liveness probes."""
    return json_answer(schemas.ServerState(status="ok"))


@get_and_head(
    server_router,
    "/readyz",
    "readiness",
    summary="Whether the server can take sounds now",
    response_model=schemas.ServerState,
    responses=failures(421, 422, 503),
)
async def readyz(served: Shared) -> Response:
    """Answer 503 if no worker process is running: for readiness probes and load balancers."""
    served.workers.check_ready()
    return json_answer(schemas.ServerState(status="ready"))


@get_and_head(
    server_router,
    "/metrics",
    "metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses=failures(401, 421, 422, 503) | METRICS_ANSWERS,
    dependencies=[Token],
)
async def metrics(served: Shared) -> Response:
    """Return counts of requests, their times, workers, live streams, and the process's use."""
    return Response(
        generate_latest(served.metrics.registry), headers={"content-type": CONTENT_TYPE_LATEST}
    )
