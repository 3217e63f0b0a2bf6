"""From a CSV manifest to batches of log-mel spectrograms and captions."""
