"""Finds the programs of pycocoevalcap, the field's reference implementation."""

import importlib.util
from pathlib import Path

from auricle.errors import AuricleError


class MissingToolkitError(AuricleError):
    """Raised if the package with the metrics is not installed."""


def toolkit_folder(part: str) -> Path:
    """Returns the folder of pycocoevalcap that holds `part`: meteor, spice or tokenizer.

    Raises:
        MissingToolkitError: pycocoevalcap is not installed.
    """
    package = importlib.util.find_spec("pycocoevalcap")
    if package is None or not package.submodule_search_locations:
        raise MissingToolkitError("the metrics need pycocoevalcap: pip install 'auricle[metrics]'")
    return Path(next(iter(package.submodule_search_locations))) / part
