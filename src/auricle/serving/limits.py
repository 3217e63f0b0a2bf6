"""How much one request, and all of them together, may take."""

import os
from dataclasses import dataclass

from auricle.errors import AuricleError


@dataclass(frozen=True)
class Limits:
    """What a server allows."""

    upload: int = 2 << 30  # bytes of a request's body
    seconds: float = 4 * 3600.0  # of sound in a file
    job_seconds: float = 1800.0  # that decoding and captioning one request may take
    memory: int = 1 << 30  # bytes that a worker may take beyond what its model does
    jobs: int = os.cpu_count() or 1  # requests worked on at a time, each in a process of its own
    queue: int = 64  # requests that wait for those
    uploads: int = 256  # requests that are being received
    listeners: int = 8  # live streams at a time
    stall: float = 30.0  # seconds in which a sender must send, and a reader read, a little


class RefusedError(AuricleError):
    """A request that is not served: what is answered, and with which status of HTTP."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
