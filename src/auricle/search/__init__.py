"""Finds sounds by a sentence, by words, or by a similar sound."""

from enum import StrEnum


class By(StrEnum):
    """How a search compares a sentence with sounds."""

    embedding = "embedding"  # its embedding with the embeddings of sounds
    words = "words"  # its words with captions and tags
    both = "both"
