"""What networks are made of, and how such dataclasses are read from TOML and JSON with errors that name the field."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union

from auricle.errors import AuricleError

T = TypeVar("T")


@dataclass(frozen=True)
class EncoderConfig:
    """Which network hears."""

    architecture: Literal["cnn10", "mobilenet", "vggish", "gru"] = "cnn10"
    width: float = 1.0  # multiplies the channels: 1 is CNN10, VGGish or mn10, 0.4 is mn04


@dataclass(frozen=True)
class DecoderConfig:
    """Which network speaks, and its sizes."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    feedforward: int = 2048
    dropout: float = 0.2
    tags: int = 0  # how many of the likeliest AudioSet tags stand in the memory beside the sound's frames
    # transformer: the paper's. bart: its layers as BART has them, learnt positions, GELU, tied output. gru: recurrent.
    architecture: Literal["transformer", "bart", "gru"] = "transformer"
    encoder_layers: int = 0  # of BART's Transformer encoder between the sound's frames and the decoder

    def __post_init__(self) -> None:
        if min(self.width, self.layers, self.heads, self.feedforward) < 1:
            raise ValueError("width, layers, heads and feedforward are to be 1 at least")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared among {self.heads} heads")
        if self.architecture == "gru" and self.heads != 1:
            raise ValueError(f"heads is {self.heads}: the attention of a recurrent decoder has one")


def read(cls: type[T], table: Mapping[str, Any], where: str, at: str = "") -> T:
    """A dataclass from a table of its fields; fields that are dataclasses are tables in it.

    Args:
        cls: a dataclass.
        table: what was parsed.
        where: the file it comes from, for errors.
        at: the table's own dotted name in the file.

    Raises:
        AuricleError: an unknown or missing field, or a value of the wrong type or range.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in table:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1) or [", ".join(fields)]
            raise AuricleError(f"{where}: no field '{at}{name}': did you mean {near[0]}?")
    values = {name: _value(hints[name], value, where, at + name) for name, value in table.items()}
    for name, field in fields.items():
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if missing and name not in table:
            raise AuricleError(f"{where}: the field '{at}{name}' is missing")
    try:
        return cls(**values)
    except ValueError as error:
        place = f"{where}: {at.rstrip('.')}" if at else where
        raise AuricleError(f"{place}: {error}") from None


def _value(hint: Any, value: Any, where: str, name: str) -> Any:
    """`value` as the type that `hint` names, or an error."""
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return read(hint, value, where, f"{name}.")  # type: ignore[arg-type]
    elif typing.get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        return _value(next(h for h in typing.get_args(hint) if h is not type(None)), value, where, name)
    elif typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        wanted = ", ".join(map(repr, typing.get_args(hint)))
        raise AuricleError(f"{where}: {name} is {value!r}: choose one of {wanted}")
    elif typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return tuple(_value(typing.get_args(hint)[0], v, where, f"{name}[{i}]") for i, v in enumerate(value))
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    wanted = hint.__name__ if isinstance(hint, type) else str(hint)
    raise AuricleError(
        f"{where}: {name} is {value!r}: {'table' if dataclasses.is_dataclass(hint) else wanted} is wanted"
    )
