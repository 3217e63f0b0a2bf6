"""Automated audio captioning: a sound goes in, a sentence comes out.

>>> import auricle
>>> captioner = auricle.load()
>>> captioner.caption("examples/bell.wav").text
"""

from auricle.beam_search import BeamOptions
from auricle.captioner import Alternative, Caption, Captioner, Tag, load
from auricle.errors import AudioError, AuricleError

__all__ = ["Alternative", "AudioError", "AuricleError", "BeamOptions", "Caption", "Captioner", "Tag", "load"]
