"""Reads and writes checkpoint folders; holds the embedded model."""
