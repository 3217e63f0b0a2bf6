"""Automated audio captioning: a sound goes in, a sentence comes out."""
