"""The file of streams that one process listens to."""

from dataclasses import dataclass, field
from pathlib import Path

from auricle.alerts.home_assistant import topic_level
from auricle.errors import AuricleError
from auricle.storage.tables import read, read_toml

MOST_STREAM_NAME_CHARACTERS = 60


@dataclass(frozen=True)
class StreamConfig:
    """A stream, as the file names it."""

    name: str
    # A sound file or an address, which may hold a password; None: a microphone.
    source: str | None = field(default=None, repr=False)
    device: str | None = None  # a microphone: its number or a part of its name
    alert: tuple[str, ...] = ()  # sentences, as `--alert`
    alerts: str | None = None  # a file, as `--alerts`; relative to this file

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > MOST_STREAM_NAME_CHARACTERS:
            raise ValueError(f"name must have 1 to {MOST_STREAM_NAME_CHARACTERS} characters")
        if not self.name.isprintable():
            raise ValueError("name must be printable")
        if self.source is not None and self.device is not None:
            raise ValueError("device names a microphone: leave out source or device")
        if self.source in ("", "-"):
            raise ValueError("source must be a sound file or an address; a microphone has none")


@dataclass(frozen=True)
class StreamsConfig:
    """The contents of a file of streams."""

    stream: tuple[StreamConfig, ...]

    def __post_init__(self) -> None:
        if not self.stream:
            raise ValueError("names no stream: begin with [[stream]]")
        names: dict[str, str] = {}
        for stream in self.stream:
            level = topic_level(stream.name)  # streams must differ in topics, too
            if level in names:
                raise ValueError(f"two streams are called '{names[level]}' and '{stream.name}'")
            names[level] = stream.name


def load_streams(path: Path) -> StreamsConfig:
    """Reads a file of streams. No message repeats a source, which may hold a password.

    Raises:
        AuricleError: the file cannot be read, or a field is unknown or has a wrong value.
    """
    table = read_toml(path)
    streams = table.get("stream", [])
    if not isinstance(streams, list) or not all(isinstance(stream, dict) for stream in streams):
        raise AuricleError(f"{path}: stream must be a table in double brackets: [[stream]]")
    for number, stream in enumerate(streams):
        if not isinstance(stream.get("source", ""), str):
            raise AuricleError(f"{path}: stream[{number}].source must be a text in quotes")
    return read(StreamsConfig, {"stream": streams, **table}, str(path))
