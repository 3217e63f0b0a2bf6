"""Live rows as JSON, for `auricle listen` and for the server."""

import datetime

from auricle.alerts.watch import Alert, alert_fields
from auricle.live.listener import Heard
from auricle.output.writers import event_fields


def heard_fields(heard: Heard) -> dict[str, object]:
    """Return a row as an object of JSON; `time` says when it began, in UTC.

    `stream` is there only if there are several streams.
    """
    utc = heard.time.astimezone(datetime.UTC)
    time = utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    row = alert_fields(heard.row) if isinstance(heard.row, Alert) else event_fields(heard.row)
    stream = {} if heard.stream is None else {"stream": heard.stream}
    return {"time": time, **stream, **row}
