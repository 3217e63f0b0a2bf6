"""Finds the programs of pycocoevalcap, whose scorers and jars are the field's reference."""

import importlib.util
from pathlib import Path

from auricle.errors import AuricleError


class MissingToolkitError(AuricleError):
    """The package that carries the metrics is not installed."""


def toolkit_folder(part: str) -> Path:
    """Returns the folder of pycocoevalcap that holds `part`: meteor, spice or tokenizer.

    Raises:
        MissingToolkitError: pycocoevalcap is not installed.
    """
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise MissingToolkitError("the metrics need pycocoevalcap: pip install 'auricle[metrics]'")
    return Path(next(iter(found.submodule_search_locations))) / part
