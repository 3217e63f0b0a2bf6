"""The command `listen`."""

import contextlib
import datetime
import signal
import sys
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from auricle.cli.alerts import AlertFile, AlertSentences, alarm
from auricle.cli.mqtt import (
    Mqtt,
    MqttAuthority,
    MqttCredentials,
    MqttName,
    MqttOptions,
    MqttTls,
    publishing,
)
from auricle.cli.options import CheckpointFolder
from auricle.cli.streams import listen_to_streams
from auricle.errors import AuricleError
from auricle.output.formats import EventFormat

if TYPE_CHECKING:
    import numpy as np

    from auricle.alerts.delivery import Say
    from auricle.live.keep import Keeper
    from auricle.live.sources import Gap, LiveSource
    from auricle.live.view import View


class Pcm(StrEnum):
    """Types of raw samples, as FFmpeg calls them."""

    s16le = "s16le"
    s32le = "s32le"
    f32le = "f32le"


def listen(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A file, an address on the network, - for raw samples; the microphone if left out."
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Microphone: its number or a part of its name; ? prints them."),
    ] = None,
    checkpoint: CheckpointFolder = None,
    form: Annotated[
        EventFormat, typer.Option("--format", "-f", help="How rows are written.")
    ] = "text",
    pcm: Annotated[Pcm | None, typer.Option(help="Type of raw samples; s16le if left out.")] = None,
    rate: Annotated[
        int | None,
        typer.Option(min=1000, max=768_000, help="Rate of raw samples in Hz; 32000 if left out."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(min=1, max=64, help="Channels of raw samples; 1 if left out.")
    ] = None,
    alerts: AlertSentences = None,
    alert_file: AlertFile = None,
    keep: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Record the sound in this folder as FLAC; if left out, nothing is recorded.",
        ),
    ] = None,
    keep_limit: Annotated[
        float,
        typer.Option(metavar="MB", help="The most space for recordings; the oldest are deleted."),
    ] = 1000,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Listen to several streams, each with a name and alerts."
        ),
    ] = None,
    mqtt: Mqtt = None,
    mqtt_tls: MqttTls = False,
    mqtt_authority: MqttAuthority = None,
    mqtt_credentials: MqttCredentials = None,
    mqtt_name: MqttName = None,
) -> None:
    """Caption live sound as it comes, until Ctrl+C.

    A terminal shows the level, the likeliest tags and the captions; elsewhere there is a line for
    each event that has ended, and with `--format jsonl` a row when an event begins, is named anew,
    or ends. A microphone or a stream that is lost is opened again.

    Examples:

        auricle listen

        auricle listen --alert "glass breaking" --alert "gunshot or explosion"

        auricle listen https://radio.example/stream.mp3 --format jsonl

        auricle listen film.mkv

        arecord -t raw -f S16_LE -r 16000 | auricle listen - --rate 16000

        auricle listen --keep recordings --keep-limit 500 --alerts alerts.toml

        auricle listen --alert "a doorbell" --mqtt homeassistant.local

        auricle listen --config streams.toml --mqtt homeassistant.local
    """
    from auricle.alerts.watch import Alert
    from auricle.captioning.captioner import load
    from auricle.live.keep import Keeper
    from auricle.live.listener import listen as listened
    from auricle.live.rows import heard_fields
    from auricle.live.sources import heard
    from auricle.live.stream_config import load_streams

    options = MqttOptions(mqtt, mqtt_tls, mqtt_authority, mqtt_credentials, mqtt_name)
    if config is not None:
        one_stream_options = (source, device, pcm, rate, channels, alerts, alert_file, keep)
        if any(option is not None for option in one_stream_options):
            raise AuricleError(f"{config} names sources, devices and alerts: leave them out here")
        several = load_streams(config)
        view = _lines(form)
        broker = options.broker(view.say)
        with _Stop() as stop:
            listen_to_streams(load(checkpoint), config, several, view, broker, stop.asked)
        return
    with contextlib.ExitStack() as stack:
        view = stack.enter_context(_view(form, _name(source)))
        broker = options.broker(view.say)
        captioner = load(checkpoint)
        keeper = None if keep is None else Keeper(keep, round(keep_limit * 1e6), captioner.rate)
        place = _source(source, device, captioner.rate, (pcm, rate, channels), view.say)
        watch, tell = stack.enter_context(alarm(captioner, alerts, alert_file, view.say))
        publisher = stack.enter_context(publishing(broker, {None: watch}, view.say))
        stop = stack.enter_context(_Stop())

        def tell_presence(there: bool) -> None:
            if publisher is not None:
                publisher.present(None, there)

        pieces = stop.until_asked(heard(place, view.say, tell_presence=tell_presence))
        for row in listened(captioner, _observed(pieces, view, keeper), watch):
            view.row(row)
            if publisher is not None:
                publisher.row(None, heard_fields(row))
            if isinstance(row.row, Alert):
                tell(heard_fields(row))


def _name(source: str | None) -> str:
    """Returns a short name of a source, without passwords."""
    from auricle.errors import printable
    from auricle.sound.network import shown_url

    if source is None or source == "-":
        return "microphone" if source is None else "standard input"
    return shown_url(source) if "://" in source else printable(Path(source).name)


def _source(
    source: str | None,
    device: str | None,
    rate: int,
    raw: tuple[Pcm | None, int | None, int | None],
    say: "Say",
) -> "LiveSource":
    from auricle.live.sources import file_source, microphone_source, pcm_source, url_source

    if source != "-" and any(option is not None for option in raw):
        raise AuricleError(
            "--pcm, --rate and --channels describe raw samples: auricle listen - reads them"
        )
    if source is not None and device is not None:
        raise AuricleError(
            f"--device names a microphone, and {_name(source)} is none: leave one of both out"
        )
    if source is None:
        return microphone_source(rate, device, say)
    if source == "-":
        pcm, from_rate, channels = raw
        kind = (pcm or Pcm.s16le).value
        return pcm_source(
            sys.stdin.buffer,
            rate,
            pcm=kind,
            from_rate=from_rate or 32_000,
            channels=channels or 1,
            say=say,
        )
    return url_source(source, rate) if "://" in source else file_source(source, rate)


@contextlib.contextmanager
def _view(form: EventFormat, name: str) -> Iterator["View"]:
    from auricle.live.view import terminal

    if form == "text" and sys.stdout.isatty():
        with terminal(name) as view:
            yield view
    else:
        yield _lines(form)


def _lines(form: EventFormat) -> "View":
    from auricle.live.view import JsonLines, Lines

    return (JsonLines if form == "jsonl" else Lines)(sys.stdout, sys.stderr)


def _observed(
    pieces: Iterator["np.ndarray | Gap"], view: "View", keeper: "Keeper | None"
) -> Iterator["np.ndarray | Gap"]:
    """Passes pieces on; shows them on the meter, and records them."""
    from auricle.live.sources import Gap

    try:
        for piece in pieces:
            if not isinstance(piece, Gap):
                view.samples(piece)
            if keeper is not None:
                try:
                    if isinstance(piece, Gap):
                        keeper.close()
                    else:
                        keeper.feed(piece, datetime.datetime.now(datetime.UTC))
                except AuricleError as error:
                    # Listening must survive a full disk.
                    view.say(f"{error}: listening continues, but nothing more is recorded")
                    keeper = None
            yield piece
    finally:
        if keeper is not None:
            try:
                keeper.close()
            except AuricleError as error:
                view.say(f"{error}: the end is not recorded")


class _Stop:
    """Ends listening by Ctrl+C or SIGTERM so that the last event still gets its row.

    A second signal ends it at once.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._waiting = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "_Stop":
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def until_asked(self, pieces: Iterator["np.ndarray | Gap"]) -> Iterator["np.ndarray | Gap"]:
        """Passes pieces on until the user stops."""
        with contextlib.closing(pieces):  # type: ignore[type-var]
            while not self.asked.is_set():
                self._waiting = True
                try:
                    piece = next(pieces)
                except (StopIteration, KeyboardInterrupt):
                    return
                finally:
                    self._waiting = False
                yield piece

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        # While a sound is captioned, that is finished first; while we wait for one, there is
        # nothing to finish.
        if self.asked.is_set() or self._waiting:
            raise KeyboardInterrupt
        self.asked.set()
