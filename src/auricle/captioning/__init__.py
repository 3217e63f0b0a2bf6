"""From samples to captions: encoder, beam search, windows, events. Imports no torch."""
