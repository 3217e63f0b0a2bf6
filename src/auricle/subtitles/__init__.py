"""Subtitles of sound: what is heard, in the conventions of captions for the deaf, on its own or
between the lines of a film.
"""
