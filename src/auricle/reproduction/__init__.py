"""Reproduces the paper's tables: plans trainings, carries them out, and reports."""
