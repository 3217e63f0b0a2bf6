"""Posts alerts to a webhook, with a signature, and reads the server's wish to be called later."""

import email.message
import email.utils
import hashlib
import hmac
import http.client
import json
import math
import time
import urllib.error
import urllib.request

from auricle.alerts.config import Webhook
from auricle.alerts.delivery import DeliveryRefusedError, Fields, TryLaterError

TIMEOUT_SECONDS = 10.0  # without an answer from the server
LONGEST_RETRY_AFTER_SECONDS = 3600.0
RETRIED_STATUSES = (408, 429)  # and all of 500 and above: the server may take the alert later


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Returns the hexadecimal HMAC-SHA256 of "timestamp.body" under the secret.

    It proves that the caller knows the secret. The receiver computes it too. It
    refuses old timestamps, so that nobody can repeat an old alert.
    """
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def post(webhook: Webhook, fields: Fields) -> None:
    """Posts one alert, once.

    Raises:
        TryLaterError: the server or the network failed.
        DeliveryRefusedError: the server does not take this alert.
    """
    body = json.dumps(fields, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "auricle"}
    if webhook.authorization is not None:
        headers["Authorization"] = webhook.authorization
    if webhook.secret is not None:
        timestamp = str(int(time.time()))
        headers["X-Auricle-Timestamp"] = timestamp
        headers["X-Auricle-Signature"] = f"sha256={signature(webhook.secret, timestamp, body)}"
    request = urllib.request.Request(webhook.address, body, headers)
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS):
            return
    except urllib.error.HTTPError as error:
        error.close()
        problem = f"{webhook.host} answered {error.code}"
        if error.code < 500 and error.code not in RETRIED_STATUSES:
            raise DeliveryRefusedError(problem) from None
        raise TryLaterError(problem, retry_after_seconds(error.headers)) from None
    except (OSError, http.client.HTTPException) as error:
        # Only the system's own text: other errors may repeat the address.
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or type(reason).__name__
        raise TryLaterError(f"{webhook.host} cannot be reached ({text})") from None


def retry_after_seconds(headers: email.message.Message) -> float | None:
    """Returns how long a `Retry-After` header asks to wait, at most an hour.

    Returns:
        Seconds, or None without a valid header. The header holds seconds or a date (RFC 9110).
    """
    value = (headers.get("Retry-After") or "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, OSError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if math.isfinite(seconds) else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: an alert goes only to the address that the file names."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)
