"""Limits of one request and of all requests together."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from auricle.errors import AuricleError


@dataclass(frozen=True)
class Limits:
    """Limits of a server."""

    upload: int = 2 << 30  # bytes of a request's body
    seconds: float = 4 * 3600.0  # of sound in a file
    job_seconds: float = 1800.0  # that decoding and captioning one request may take
    memory: int = 1 << 30  # bytes that a worker may use beyond its model
    jobs: int = os.cpu_count() or 1  # requests processed at a time, each in its own process
    queue: int = 64  # requests that wait for those
    uploads: int = 256  # requests that are being received
    listeners: int = 8  # live streams at a time
    stall: float = 30.0  # seconds in which a sender must send, and a reader read, a little


class RequestRefusedError(AuricleError):
    """A request that is not served.

    Args:
        status: the HTTP status to answer with.
        message: the reason, for the client.
        retry_after: seconds after which the client may try again.
        details: further fields of the JSON answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: int | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.details = dict(details or {})
