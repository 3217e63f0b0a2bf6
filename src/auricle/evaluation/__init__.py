"""Computes the metrics of audio captioning exactly as the field does."""
