"""Several streams of one file, for the command `listen`."""

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from auricle.cli.alerts import alarm
from auricle.cli.mqtt import publishing

if TYPE_CHECKING:
    from auricle.alerts.broker import Broker
    from auricle.alerts.delivery import Say
    from auricle.captioning.captioner import Captioner
    from auricle.live.sources import LiveSource
    from auricle.live.stream_config import StreamConfig, StreamsConfig
    from auricle.live.view import View


def listen_to_streams(
    captioner: "Captioner",
    path: Path,
    config: "StreamsConfig",
    view: "View",
    broker: "Broker | None",
    stopping: threading.Event,
) -> None:
    """Listens to all streams of a file until they end or `stopping` is set.

    Args:
        captioner: hears them all.
        path: the file; the files that it names are relative to its folder.
        config: the file's contents.
        view: shows the rows.
        broker: rows are published there; None for none.
        stopping: ends listening, with the last rows.

    Raises:
        AuricleError: a file of alerts is not valid, or a sentence has no word that the model knows.
        Exit: all streams have ended; the code is 1 if one ended with an error.
    """
    from auricle.alerts.watch import Alert
    from auricle.live.rows import heard_fields
    from auricle.live.streams import Stream, StreamGroup

    with contextlib.ExitStack() as stack:
        streams, tellers = [], {}
        for stream in config.stream:
            say = _named(stream.name, view.say)
            alerts = None if stream.alerts is None else path.parent / stream.alerts
            watch, tellers[stream.name] = stack.enter_context(
                alarm(captioner, list(stream.alert), alerts, say)
            )
            source = _source(stream, path.parent, captioner.rate, say)
            streams.append(Stream(stream.name, source, watch))
        watches = {stream.name: stream.watch for stream in streams}
        publisher = stack.enter_context(publishing(broker, watches, view.say))

        def tell_presence(name: str, there: bool) -> None:
            if publisher is not None:
                publisher.present(name, there)

        group = StreamGroup(captioner, streams, view.say, tell_presence)
        for row in group.rows(stopping):
            view.row(row)
            assert row.stream is not None
            if publisher is not None:
                publisher.row(row.stream, heard_fields(row))
            if isinstance(row.row, Alert):
                tellers[row.stream](heard_fields(row))
    if group.failed:
        count = f"{len(group.failed)} of {len(streams)} streams"
        print(f"auricle: {count} ended with an error", file=sys.stderr)
    code = 1 if group.failed else 0
    if group.hangs:  # Python's own exit may crash
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)


def _named(name: str, say: "Say") -> "Say":
    return lambda message: say(f"{name}: {message}")


def _source(stream: "StreamConfig", folder: Path, rate: int, say: "Say") -> "LiveSource":
    from auricle.live.sources import file_source, microphone_source, url_source

    if stream.source is None:
        return microphone_source(rate, stream.device, say)
    if "://" in stream.source:
        return url_source(stream.source, rate)
    return file_source(str(folder / stream.source), rate)
