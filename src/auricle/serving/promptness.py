"""HTTP for those who say in time what they want: who connects and is slow about it is let go.

uvicorn limits how long a connection may be idle between requests, and the application how slowly a
body may come; between the two, the head of a request could take for ever, and as many connections
as the system allows be held by next to nothing.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 20.0  # from the connection, or the answer before, to the end of a request's head


class PromptProtocol(H11Protocol):
    """A connection of uvicorn's that ends where a request does not begin in time."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Ends waiting where the head of a request is complete."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Waits for another request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Has nothing to wait for."""
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        upgraded = self.transport.get_protocol() is not self  # a WebSocket has limits of its own
        if upgraded or (self.cycle is not None and not self.cycle.response_complete):
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
