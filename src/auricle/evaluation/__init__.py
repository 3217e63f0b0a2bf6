"""The metrics of audio captioning, exactly as the field computes them."""
