"""Files: written whole, downloaded, unpacked, and read as typed settings."""
