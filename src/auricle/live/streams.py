"""Listens to several streams in one process with one captioner.

    source ──> reader ──> pieces ──> listener ──> rows ──> caller
    (each stream has two threads, and all streams share the rows)

A stream that fails, or whose network hangs, delays no other stream.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auricle.alerts.watch import Watch
from auricle.captioning.captioner import Captioner
from auricle.errors import AuricleError
from auricle.live.listener import Heard, listen
from auricle.live.sources import Gap, LiveSource, heard

MOST_PIECES = 1000  # of a stream that wait to be heard; then its source waits
MOST_ROWS = 1000  # that wait for the caller; then the listeners wait
POLL_SECONDS = 0.2  # between two looks at whether listening is to end
CLOSING_SECONDS = 1.0  # for sources to close at the end; one whose network hangs is left


@dataclass(frozen=True)
class Stream:
    """A source with a name of its own, and the sounds to wait for in it."""

    name: str
    source: LiveSource
    watch: Watch | None = None


@dataclass(frozen=True)
class _End:
    """The end of a source."""

    error: Exception | None


class _EndedError(Exception):
    """Nobody listens to the source any more."""


class StreamGroup:
    """Several streams that are listened to at once.

    Args:
        captioner: hears them all.
        streams: each is opened again when it is lost, also if it could not be opened at first.
        say: takes messages about streams, with their names.
        tell_presence: takes the name of a stream, and whether its source gives sound.
    """

    def __init__(
        self,
        captioner: Captioner,
        streams: Sequence[Stream],
        say: Callable[[str], None],
        tell_presence: Callable[[str, bool], None],
    ) -> None:
        self._captioner, self._streams = captioner, streams
        self._say, self._tell_presence = say, tell_presence
        self._rows: queue.Queue[Heard | None] = queue.Queue(MOST_ROWS)  # None: a stream has ended
        self.failed: list[str] = []  # names of streams that ended with an error
        self._readers: list[threading.Thread] = []

    @property
    def hangs(self) -> bool:
        """Whether a source still waits for its network, though its stream has ended.

        Its thread is inside FFmpeg, and may crash Python's own exit.
        """
        return any(reader.is_alive() for reader in self._readers)

    def rows(self, stopping: threading.Event) -> Iterator[Heard]:
        """Yields the rows of all streams as they come, until all have ended.

        Args:
            stopping: when it is set, all streams end, with the last rows of their events.
        """
        listeners = [
            threading.Thread(
                target=self._listen, args=(stream, stopping), name=stream.name, daemon=True
            )
            for stream in self._streams
        ]
        for listener in listeners:
            listener.start()
        left = len(self._streams)
        while left:
            if (row := self._rows.get()) is None:
                left -= 1
            else:
                yield row
        for listener in listeners:
            listener.join()

    def _listen(self, stream: Stream, stopping: threading.Event) -> None:
        """Puts the rows of a stream; its thread."""
        pieces: queue.Queue[np.ndarray | Gap | _End] = queue.Queue(MOST_PIECES)
        ended = threading.Event()
        reader = threading.Thread(
            target=self._read, args=(stream, pieces, ended), name=stream.name, daemon=True
        )
        self._readers.append(reader)
        reader.start()

        def taken() -> Iterator[np.ndarray | Gap]:
            while not stopping.is_set():
                try:
                    piece = pieces.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if not isinstance(piece, _End):
                    yield piece
                elif piece.error is not None:
                    raise piece.error
                else:
                    return

        try:
            for row in listen(self._captioner, taken(), stream.watch):
                self._rows.put(replace(row, stream=stream.name))
        except Exception as error:  # the other streams must go on
            # Errors that are not ours may repeat an address with its password.
            text = str(error) if isinstance(error, AuricleError) else type(error).__name__
            self.failed.append(stream.name)
            self._say(f"{stream.name}: {text}")
        finally:
            self._tell_presence(stream.name, False)
            ended.set()
            reader.join(CLOSING_SECONDS)
            self._rows.put(None)

    def _read(
        self,
        stream: Stream,
        pieces: "queue.Queue[np.ndarray | Gap | _End]",
        ended: threading.Event,
    ) -> None:
        """Puts the pieces of a source until nobody listens any more; its thread."""

        def put(piece: np.ndarray | Gap | _End) -> None:
            while not ended.is_set():
                try:
                    return pieces.put(piece, timeout=POLL_SECONDS)
                except queue.Full:
                    continue
            raise _EndedError

        def sleep(seconds: float) -> None:
            if ended.wait(seconds):
                raise _EndedError

        try:
            for piece in heard(
                stream.source,
                lambda message: self._say(f"{stream.name}: {message}"),
                tell_presence=lambda there: self._tell_presence(stream.name, there),
                patient=True,
                sleep=sleep,
            ):
                put(piece)
            put(_End(None))
        except _EndedError:
            return
        except Exception as error:  # the listener tells it
            put(_End(error))
