"""Sounds found by a sentence, by words, or by a sound that is like them."""

from enum import StrEnum


class By(StrEnum):
    """What of a sentence is compared with sounds."""

    embedding = "embedding"  # its meaning, with the sounds themselves
    words = "words"  # its words, with captions and tags
    both = "both"
