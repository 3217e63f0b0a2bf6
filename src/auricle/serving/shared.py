"""Objects that the routes share, and checks of every request."""

import difflib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.requests import HTTPConnection
from fastapi.security import HTTPBearer

from auricle.captioning.captioner import Captioner
from auricle.serving.guard import Guard
from auricle.serving.limits import Limits, RequestRefusedError
from auricle.serving.listening import Microphone
from auricle.serving.metrics import Metrics
from auricle.serving.uploads import Uploads
from auricle.serving.workers import Workers


@dataclass(frozen=True)
class Served:
    """Objects that the routes share."""

    limits: Limits
    metrics: Metrics
    captioner: Captioner
    workers: Workers
    uploads: Uploads
    guard: Guard
    microphone: Microphone | None


def _served(connection: HTTPConnection) -> Served:
    return connection.app.state.served


Shared = Annotated[Served, Depends(_served)]


def known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not have.

    Raises:
        RequestRefusedError: one is unknown; the message names the nearest one.
    """
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name in known:
            continue
        near = difflib.get_close_matches(name.lower(), known, n=1)
        if near:
            advice = f"did you mean {near[0]}?"
        elif known:
            advice = f"known are {', '.join(known)}"
        else:
            advice = "there is none here"
        raise RequestRefusedError(422, f"{name[:100]}: an unknown parameter; {advice}")


Known = Depends(known_parameters)
# The guard checks the token, for static files too; this describes it in OpenAPI.
Token = Security(
    HTTPBearer(
        auto_error=False,
        scheme_name="token",
        description="The server's token, if it was started with one.",
    )
)
