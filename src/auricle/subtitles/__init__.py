"""Subtitles of sound for the deaf: alone, or between the spoken lines of a film."""
