"""Reads manifests and makes batches of log-mel spectrograms and captions."""
