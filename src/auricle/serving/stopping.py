"""The end of a server: requests in flight get some time, and then an answer that says why."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator

from auricle.serving.limits import RequestRefusedError

GRACE_SECONDS = 5.0  # for requests in flight, once the server is told to stop
RETRY_SECONDS = 10  # after which clients may try the next server


class Stopping:
    """Whether the server is stopping, and by when its requests must end."""

    def __init__(self) -> None:
        self._stop_at = math.inf  # by the event loop's clock
        self._timeouts: set[asyncio.Timeout] = set()

    @property
    def begun(self) -> bool:
        """Whether the server is stopping."""
        return self._stop_at < math.inf

    def begin(self) -> None:
        """Give requests in flight `GRACE_SECONDS` more."""
        self._stop_at = asyncio.get_running_loop().time() + GRACE_SECONDS
        for timeout in self._timeouts:
            timeout.reschedule(min(timeout.when() or math.inf, self._stop_at))

    def refusal(self) -> RequestRefusedError:
        """Return the answer to a request that the server does not get to."""
        return RequestRefusedError(503, "the server is stopping: try again later", RETRY_SECONDS)

    @contextlib.asynccontextmanager
    async def limit(self, until: float = math.inf) -> AsyncIterator[asyncio.Timeout]:
        """Limit a wait.

        Args:
            until: when it ends at the latest, by the event loop's clock.

        Raises:
            TimeoutError: the wait took too long.
            RequestRefusedError: the server is stopping.
        """
        end = min(until, self._stop_at)
        try:
            async with asyncio.timeout_at(None if end == math.inf else end) as timeout:
                self._timeouts.add(timeout)
                try:
                    yield timeout
                finally:
                    self._timeouts.discard(timeout)
        except TimeoutError:
            if asyncio.get_running_loop().time() >= self._stop_at:
                raise self.refusal() from None
            raise
