"""Automated audio captioning: a sound goes in, a sentence comes out.

>>> import auricle
>>> captioner = auricle.load()
>>> captioner.caption("examples/bell.wav").text
"""

import os

# Otherwise ONNX Runtime (1.31) keeps a number for this machine in ~/.cache, and tells Microsoft
# what it runs.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

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
