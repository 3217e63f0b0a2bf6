"""What stands before the app: who may ask, from which page, and what a browser may do with the
answer.
"""

import ipaddress
import secrets
import socket
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.serving.metrics import Metrics

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), screen-wake-lock=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Middleware: checks `Host`, `Origin` and token, counts, and sets the headers that keep a
    browser strict.

    `Host` must be an address, `localhost`, a name of this machine, or one that was allowed: a
    stranger's page can only reach a server in its visitor's network by a name of its own ("DNS
    rebinding"). `Origin` must be the server's own, since browsers let any page post to any address.

    Args:
        app: what is guarded.
        token: what `/v1` and `/metrics` ask for; None: nothing.
        names: allowed as `Host` besides.
        metrics: where requests are counted.
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None, names: tuple[str, ...], metrics: Metrics
    ) -> None:
        self.app, self.token, self.metrics = app, token, metrics
        own = socket.gethostname().lower()
        self.names = {"localhost", own, f"{own}.local", *map(str.lower, names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI calls it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers, began, status = Headers(scope=scope), time.monotonic(), 499

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own[name] = value
                own.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if scope["type"] == "websocket":
            if (
                refusal is not None and refusal[0] != 401
            ):  # a browser cannot send the token as a header: the first message has it
                await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
                return
            await self.app(scope, receive, send)
            return
        try:
            if refusal is None:
                await self.app(scope, receive, answer)
            else:
                code, reason = refusal
                more = {"www-authenticate": "Bearer"} if code == 401 else None
                await JSONResponse({"error": reason}, code, more)(scope, receive, answer)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", None) or "other"
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(time.monotonic() - began)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """The status and the words that a request is refused with."""
        host = headers.get("host", "")
        if not self._ours(host):
            return (
                421,
                f"this server is not called '{host[:100]}': start it with --host-name if it is",
            )
        origin = headers.get("origin")
        if origin is not None and scope.get("method") not in ("GET", "HEAD"):
            asked = urlsplit(origin)
            if asked.scheme not in ("http", "https") or asked.netloc.lower() != host.lower():
                return 403, "a page of another origin may not use this server"
        guarded = scope["path"].startswith("/v1/") or scope["path"] == "/metrics"
        if guarded and not self.knows(headers.get("authorization", "").removeprefix("Bearer ")):
            return 401, "the token is wrong or missing: send it as 'Authorization: Bearer TOKEN'"
        return None

    def knows(self, token: str) -> bool:
        """Whether this is the token, or none is wanted."""
        return self.token is None or secrets.compare_digest(token.encode(), self.token.encode())

    def _ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name.lower().rstrip(".") in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
