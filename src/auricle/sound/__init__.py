"""Sound in: any file, bytes or stream to samples, and samples to log-mel spectrograms."""
