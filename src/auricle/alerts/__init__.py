"""Sounds that somebody waits for, named by a sentence: when they are heard, and who is told. Not a
safety device.
"""
