"""Checkpoint folders: how a captioner describes itself, its vocabulary, and the embedded model."""
