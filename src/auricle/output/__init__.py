"""Captions as text, tables, subtitles and pictures."""
