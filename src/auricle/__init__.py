"""Automated audio captioning: a sound goes in, a sentence comes out.

>>> import auricle
>>> captioner = auricle.load()
>>> captioner.caption("examples/bell.wav").text
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Otherwise ONNX Runtime (1.31) keeps a number for this machine in ~/.cache, and tells Microsoft
# what it runs.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from auricle.captioning.captioner import Captioner, load
    from auricle.captioning.results import Alternative, Caption, Tag
    from auricle.checkpoint.config import BeamOptions
    from auricle.errors import AudioError, AuricleError

__all__ = [
    "Alternative",
    "AudioError",
    "AuricleError",
    "BeamOptions",
    "Caption",
    "Captioner",
    "Tag",
    "load",
]

# Where each public name is defined. It is imported when it is first used, so that `auricle --help`
# loads no libraries for sound and networks.
_HOMES = {
    "Alternative": "auricle.captioning.results",
    "AudioError": "auricle.errors",
    "AuricleError": "auricle.errors",
    "BeamOptions": "auricle.checkpoint.config",
    "Caption": "auricle.captioning.results",
    "Captioner": "auricle.captioning.captioner",
    "Tag": "auricle.captioning.results",
    "load": "auricle.captioning.captioner",
}


def __getattr__(name: str) -> Any:
    """Imports a public name."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    """Returns the names of the module, with public names that were not used yet."""
    return sorted({*globals(), *__all__})
