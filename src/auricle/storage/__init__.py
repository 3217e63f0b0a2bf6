"""Writes files whole, downloads and unpacks them, and reads tables of typed settings."""
