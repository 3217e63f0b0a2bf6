"""Checks that every request passes before the app, and headers that every answer gets."""

import ipaddress
import secrets
import socket
import time
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auricle.serving.limits import RequestRefusedError
from auricle.serving.metrics import Metrics
from auricle.serving.stopping import Stopping
from auricle.serving.tokens import DeviceTokens

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), screen-wake-lock=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Guard:
    """Middleware: checks `Host`, `Origin` and token, counts requests, and sets strict headers.

    `Host` must be an address, `localhost`, a name of this machine, or an allowed name: a stranger's
    page can reach a server in its visitor's network only by a name of its own ("DNS rebinding").
    `Origin` must be the server's own, since browsers let any page post to any address.

    Args:
        app: the app to guard.
        token: that `/v1` and `/metrics` require; None: nothing.
        devices: whose tokens are accepted too.
        names: further names allowed as `Host`.
        metrics: counts requests.
        stopping: refuses requests once the server stops.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        devices: DeviceTokens | None,
        names: tuple[str, ...],
        metrics: Metrics,
        stopping: Stopping,
    ) -> None:
        self.app, self.token, self.metrics, self.stopping = app, token, metrics, stopping
        self.devices = devices
        host_name = socket.gethostname().lower()
        self.names = {"localhost", host_name, f"{host_name}.local", *map(str.lower, names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request, and pass it on or refuse it."""
        headers = Headers(scope=scope) if scope["type"] in ("http", "websocket") else Headers()
        match scope["type"]:
            case "http":
                await self._request(scope, headers, receive, send)
            case "websocket":
                refusal = self._refusal(scope, headers)
                # A browser cannot send the token as a header: the first message has it.
                if refusal is None or refusal.status == HTTPStatus.UNAUTHORIZED:
                    await self.app(scope, receive, send)
                else:
                    reason = str(refusal)
                    await send({"type": "websocket.close", "code": 1008, "reason": reason})
            case _:
                await self.app(scope, receive, send)

    async def _request(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        began, status = time.monotonic(), 499

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer_headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer_headers[name] = value
                # Files with an etag may be kept, and are asked for again; all else is not kept.
                answer_headers.setdefault(
                    "cache-control", "no-cache" if "etag" in answer_headers else "no-store"
                )
            await send(message)

        refusal = self._refusal(scope, headers)
        try:
            if refusal is None:
                await self.app(scope, receive, answer)
                return
            more = {}
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                more["www-authenticate"] = "Bearer"
            if refusal.retry_after is not None:
                more["retry-after"] = str(refusal.retry_after)
            response = JSONResponse({"error": str(refusal)}, refusal.status, more)
            await response(scope, receive, answer)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", None) or "other"
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(time.monotonic() - began)

    def _refusal(self, scope: Scope, headers: Headers) -> RequestRefusedError | None:
        """Return the reason to refuse a request, if there is one."""
        host = headers.get("host", "")
        if not self._ours(host):
            return RequestRefusedError(
                421,
                f"this server is not called '{host[:100]}': start it with --host-name if it is",
            )
        origin = headers.get("origin")
        if origin is not None and scope.get("method") not in ("GET", "HEAD"):
            asked = urlsplit(origin)
            if asked.scheme not in ("http", "https") or asked.netloc.lower() != host.lower():
                return RequestRefusedError(403, "a page of another origin may not use this server")
        guarded = scope["path"].startswith("/v1/") or scope["path"] == "/metrics"
        if guarded and not self.knows(bearer_token(headers)):
            return RequestRefusedError(
                401, "the token is wrong or missing: send it as 'Authorization: Bearer TOKEN'"
            )
        return self.stopping.refusal() if self.stopping.begun else None

    def knows(self, token: str) -> bool:
        """Return whether this is the token or a device's, or none is required."""
        if self.token is None or secrets.compare_digest(token.encode(), self.token.encode()):
            return True
        return self.devices is not None and self.devices.knows(token)

    def _ours(self, host: str) -> bool:
        """Return whether the server answers to this `Host`."""
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


def bearer_token(headers: Headers) -> str:
    """Return the token of the header `Authorization: Bearer TOKEN`, or "" without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
