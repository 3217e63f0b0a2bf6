"""Writes captions as text, tables, subtitles and pictures."""
