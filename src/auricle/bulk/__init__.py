"""Captions archives on a Ray cluster, or on all processors of one machine."""

from enum import StrEnum


class ShardForm(StrEnum):
    """File formats of shards."""

    parquet = "parquet"
    jsonl = "jsonl"
