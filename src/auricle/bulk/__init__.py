"""Captions of archives on a Ray cluster, or on all of a machine's processors."""

from enum import StrEnum


class ShardForm(StrEnum):
    """Formats of shards."""

    parquet = "parquet"
    jsonl = "jsonl"
