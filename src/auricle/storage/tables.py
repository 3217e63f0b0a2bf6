"""Reads dataclasses from TOML and JSON tables, with errors that name the field."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from auricle.errors import AuricleError

ConfigT = TypeVar("ConfigT")


def read_toml(path: Path) -> dict[str, Any]:
    """Reads the table of a TOML file.

    Raises:
        AuricleError: the file cannot be read.
    """
    import tomllib  # captioning reads no TOML, and starts faster without it

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AuricleError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def read(cls: type[ConfigT], table: Mapping[str, Any], where: str, at: str = "") -> ConfigT:
    """Builds a dataclass from a table of its fields; nested dataclasses are nested tables.

    Args:
        cls: a dataclass.
        table: the parsed table.
        where: its file, for errors.
        at: the table's dotted name in the file, with a final dot; empty for the whole file.

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
        missing = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if missing and name not in table:
            raise AuricleError(f"{where}: the field '{at}{name}' is missing")
    try:
        return cls(**values)
    except ValueError as error:
        place = f"{where}: {at.rstrip('.')}" if at else where
        raise AuricleError(f"{place}: {error}") from None


def _value(hint: Any, value: Any, where: str, name: str) -> Any:
    """Returns `value` as the type `hint`; raises `AuricleError` if it has another type."""
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return read(hint, value, where, f"{name}.")  # type: ignore[arg-type]
    elif typing.get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        return _value(
            next(h for h in typing.get_args(hint) if h is not type(None)), value, where, name
        )
    elif typing.get_origin(hint) is Literal:
        if value in typing.get_args(hint):
            return value
        choices = ", ".join(map(repr, typing.get_args(hint)))
        raise AuricleError(f"{where}: {name} is {value!r}: choose one of {choices}")
    elif typing.get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return tuple(
                _value(typing.get_args(hint)[0], v, where, f"{name}[{i}]")
                for i, v in enumerate(value)
            )
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif type(value) is hint:
        return value
    if dataclasses.is_dataclass(hint):
        expected = "table"
    else:
        expected = hint.__name__ if isinstance(hint, type) else str(hint)
    raise AuricleError(f"{where}: {name} is {value!r}: expected {expected}")
